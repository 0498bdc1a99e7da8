package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// caller sends requests through a policy.
type caller struct {
	*testing.T
	*player
}

func newCaller(t *testing.T, s scenario) *caller {
	t.Helper()
	p, err := s.player()
	if err != nil {
		t.Fatal(err)
	}
	return &caller{t, p}
}

// ofAlgorithm returns the scenario of an algorithm.
func ofAlgorithm(a ratelimit.Algorithm) scenario {
	for _, s := range scenarios {
		if s.policy.Algorithm == a {
			return s
		}
	}
	panic("no scenario of " + a)
}

// greedy sends requests from one time of the pattern until before another, at
// each tick until one is refused, at most n at a tick, and returns how many were
// admitted and the longest wait.
func (c *caller) greedy(from, to time.Time, tick time.Duration, n int) (admitted int, longest time.Duration) {
	c.Helper()
	for at := from; at.Before(to); at = at.Add(tick) {
		for range n {
			ok, wait, err := c.send(at)
			if err != nil {
				c.Fatal(err)
			}
			if !ok {
				break
			}
			admitted++
			longest = max(longest, wait)
		}
	}
	return admitted, longest
}

// The worst case of each algorithm in the guide is what the engine does.
func TestGuide_worst_cases(t *testing.T) {
	text := readGuide(t)
	want := func(format string, values ...any) {
		t.Helper()
		if row := fmt.Sprintf(format, values...); !strings.Contains(text, row) {
			t.Errorf("the guide has no %q", row)
		}
	}
	const ms = time.Millisecond

	bucket := newCaller(t, ofAlgorithm(ratelimit.TokenBucket))
	start := bucket.at(1)
	n, _ := bucket.greedy(start, start.Add(time.Minute), ms, 1000)
	want("| `token_bucket` | %d in one minute", n)

	leaky := newCaller(t, ofAlgorithm(ratelimit.LeakyBucket))
	n, wait := leaky.greedy(start, start.Add(ms), ms, 40)
	want("| `leaky_bucket` | of 40 at once it refuses %d, and the last of the others waits %g s", 40-n, wait.Seconds())

	for _, a := range []ratelimit.Algorithm{ratelimit.FixedWindow, ratelimit.Calendar} {
		window := newCaller(t, ofAlgorithm(a))
		boundary := window.at(2)
		n, _ = window.greedy(boundary.Add(-ms), boundary.Add(ms), ms, 1000)
		want("| `%s` | %d within a millisecond", a, n)
	}

	n = aroundWindow(t, limit)
	want("| `sliding_window` | %d in one minute", n)
	if exact := aroundWindow(t, 32); exact != 32 {
		t.Errorf("sliding_window with limit 32: got %d in one minute; want 32", exact)
	}

	log := newCaller(t, ofAlgorithm(ratelimit.SlidingLog))
	n, _ = log.greedy(start, start.Add(ms), ms, 1000)
	early, _ := log.greedy(start.Add(ms), start.Add(time.Minute), ms, 1)
	on, _ := log.greedy(start.Add(time.Minute), start.Add(time.Minute+ms), ms, 1)
	if early != 0 || on != 1 {
		t.Errorf("sliding_log: got %d before a minute has passed and %d then; want 0 and 1", early, on)
	}
	want("| `sliding_log` | %d in one minute, never more; after %[1]d at once, nothing passes for a minute", n)

	short := ofAlgorithm(ratelimit.Concurrency)
	short.runs = 10 * ms
	parallel := newCaller(t, short)
	n, _ = parallel.greedy(start, start.Add(time.Minute), ms, 1000)
	want("| `concurrency` | %d,%03d in one minute, if each takes 10 ms", n/1000, n%1000)
}

// aroundWindow returns how many requests a caller gets through a sliding_window
// in one minute if it knows that the window before is taken to be even.
func aroundWindow(t *testing.T, limit int64) int {
	s := ofAlgorithm(ratelimit.SlidingWindow)
	s.policy.Limit = limit
	c := newCaller(t, s)
	start := c.at(1)
	end := start.Add(time.Minute)
	first, _ := c.greedy(start, start.Add(time.Millisecond), time.Millisecond, 1) // begins the window
	last, _ := c.greedy(end.Add(-time.Millisecond), end, time.Millisecond, 1000)
	if first != 1 || last != int(limit)-1 {
		t.Errorf("got %d and %d in the first window", first, last)
	}
	next, _ := c.greedy(end, end.Add(time.Minute-time.Millisecond), time.Millisecond, 1000)
	return last + next
}
