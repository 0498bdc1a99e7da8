package ratelimit

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestAppendUint_MatchesStrconv(t *testing.T) {
	check := func(n uint64) {
		if got, want := string(appendUint([]byte("x"), n)), "x"+strconv.FormatUint(n, 10); got != want {
			t.Errorf("appendUint(%d) = %q, want %q", n, got, want)
		}
	}
	for _, power := range powers {
		for _, n := range []uint64{power - 1, power, power + 1, 9*power + 9} {
			check(n)
		}
	}
	check(1<<64 - 1)
	for n := range uint64(100_000) {
		check(n)
	}
	rapid.Check(t, func(t *rapid.T) { check(rapid.Uint64().Draw(t, "n")) })
}
