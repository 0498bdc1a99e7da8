package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/redis"
)

// TestQueue_expired lets an operation wait for its call until its deadline. It is not
// sent any more.
func TestQueue_expired(t *testing.T) {
	server := testkit.Redis(t)
	proxy := testkit.NewProxy(t, server.Addr())
	c := newCaller(t, connect(t, "redis://"+proxy.Addr()), "k")
	c.want(1, 9)
	proxy.HoldResponses()
	before := calls(t, server)
	results := make(chan error, 3)
	take := func() {
		_, err := c.take(1, recovery)
		results <- err
	}
	for n := range 2 { // as many calls as can be on their way
		go take()
		for deadline := time.Now().Add(recovery); calls(t, server) <= before+n; {
			if time.Now().After(deadline) {
				t.Fatal("the takes don't arrive")
			}
		}
	}
	go take() // would share a call with the next one
	if _, err := c.take(1, 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a take that waits: %v, want the deadline", err)
	}
	proxy.ReleaseResponses()
	for range cap(results) {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	c.want(0, 6)
}

// TestStore_evicted loses one key of a log, as a server without memory does. The
// counter is fresh, and counts again.
func TestStore_evicted(t *testing.T) {
	server := testkit.Redis(t)
	client := connect(t, server.URL())
	now := time.Unix(1_700_000_000, 0)
	store := redis.New(client, redis.WithClock(func() time.Time { return now }))
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "log", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "10s"}}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	take := func(want int64) {
		t.Helper()
		var r ratelimit.Reservation
		if err := ratelimit.New(store).Reserve(ctx, &r, quota, "", 2); err != nil {
			t.Fatal(err)
		}
		if got := r.Decision.Statuses()[0].Remaining; got != want {
			t.Fatalf("%d remaining, want %d", got, want)
		}
	}
	take(8)
	var value, list string
	for key := range strings.Lines(server.Do("KEYS", "*")) {
		if key = strings.TrimSpace(key); strings.Contains(key, ":k") || strings.Count(key, ":") == 2 {
			list = key
		} else {
			value = key
		}
	}
	server.Do("DEL", value)
	now = now.Add(time.Second)
	take(8)
	now = now.Add(5 * time.Second)
	take(6)
	now = now.Add(5 * time.Second) // the entry of the counter before doesn't make room
	take(6)
	server.Do("DEL", list)
	now = now.Add(6 * time.Second) // the summary has an entry that isn't there
	take(8)
	now = now.Add(10 * time.Second)
	take(8)
}
