package apikeys

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"ratelimiter/models"
)

func TestGenerate_format(t *testing.T) {
	for admin, form := range map[bool]string{
		false: `^rl_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{28}$`,
		true:  `^rl_admin_[0-9A-Za-z]{12}_[0-9A-Za-z]{28}$`,
	} {
		seen := map[string]bool{}
		for range 1000 {
			key, id := generate(admin)
			if !regexp.MustCompile(form).MatchString(key) {
				t.Fatalf("key %q doesn't match %s", key, form)
			}
			if len(key) != 49 && len(key) != 50 {
				t.Fatalf("key %q has %d characters", key, len(key))
			}
			if got, err := ParseID(key); got != id || err != nil {
				t.Fatalf("ParseID(%q) = %q, %v; want %q", key, got, err, id)
			}
			if seen[key] {
				t.Fatalf("key %q is not unique", key)
			}
			seen[key] = true
		}
	}
}

// The CRC catalogue defines the check value of CRC-32 for "123456789" as
// cbf43926.
func TestChecksum_crc32(t *testing.T) {
	var n uint64
	for _, digit := range checksum("123456789") {
		n = n*62 + uint64(strings.IndexRune(base62, digit))
	}
	if n != 0xcbf43926 {
		t.Fatalf("checksum = %x; want cbf43926", n)
	}
}

func TestParseID_mistyped(t *testing.T) {
	key, _ := generate(false)
	for i := range key {
		for _, c := range []byte("0aZ_ é") {
			mistyped := key[:i] + string(c) + key[i+1:]
			if mistyped == key {
				continue
			}
			if id, err := ParseID(mistyped); !errors.Is(err, models.ErrInvalidKey) {
				t.Fatalf("ParseID(%q) = %q, %v; the key was %q", mistyped, id, err, key)
			}
		}
	}
}

func FuzzParseID(f *testing.F) {
	key, _ := generate(false)
	admin, _ := generate(true)
	for _, seed := range []string{"", key, admin, key[1:], key + "0", "rl_live_", "rl_admin_" + strings.Repeat("_", 41)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, presented string) {
		id, err := ParseID(presented)
		if err == nil && (len(id) != idLength || !strings.Contains(presented, id)) {
			t.Fatalf("ParseID(%q) = %q", presented, id)
		}
		if err != nil && !errors.Is(err, models.ErrInvalidKey) {
			t.Fatalf("ParseID(%q): %v", presented, err)
		}
	})
}
