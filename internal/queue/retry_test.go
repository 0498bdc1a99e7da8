package queue_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ratelimiter/internal/queue"
)

func TestRetryPolicy_delay(t *testing.T) {
	p := queue.DefaultRetryPolicy
	for attempt, most := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 8: 128 * time.Second, 9: 256 * time.Second,
		10: 5 * time.Minute, 11: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		if d := p.Delay(attempt, 0); d != 0 {
			t.Errorf("attempt %d: at least %s", attempt, d)
		}
		if d := p.Delay(attempt, 0.5); d != most/2 {
			t.Errorf("attempt %d: median %s, want %s", attempt, d, most/2)
		}
		if d := p.Delay(attempt, 1); d != most {
			t.Errorf("attempt %d: at most %s, want %s", attempt, d, most)
		}
	}
	long := queue.RetryPolicy{Base: math.MaxInt64 / 3, Cap: math.MaxInt64, MaxAttempts: 9}
	if d := long.Delay(9, 0.5); d < math.MaxInt64/4 {
		t.Errorf("overflow: %s", d)
	}
}

// distance returns the Kolmogorov–Smirnov distance of samples from the uniform
// distribution over [0, most).
func distance(samples []float64, most float64) (worst float64) {
	slices.Sort(samples)
	n := float64(len(samples))
	for i, s := range samples {
		expected := s / most
		worst = max(worst, math.Abs(expected-float64(i)/n), math.Abs(float64(i+1)/n-expected))
	}
	return worst
}

// critical is the distance that uniform samples exceed once in 100,000 tests.
func critical(samples int) float64 { return 2.47 / math.Sqrt(float64(samples)) }

func TestRetryPolicy_delay_is_uniform(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for attempt := 1; attempt <= 12; attempt++ {
		samples := make([]float64, 10_000)
		for i := range samples {
			samples[i] = queue.DefaultRetryPolicy.Delay(attempt, rng.Float64()).Seconds()
		}
		most := min(math.Pow(2, float64(attempt-1)), 300)
		if d := distance(samples, most); d > critical(len(samples)) {
			t.Errorf("attempt %d: distance %.4f", attempt, d)
		}
	}
}

// The times of the next attempts in the table follow the distribution, attempt
// by attempt.
func TestWorker_retry_times(t *testing.T) {
	t.Parallel()
	const messages = 600
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	handler := func(context.Context, *queue.Message) (queue.Effect, error) { return nil, errors.New("failed") }
	// So long that none is due during the test.
	policy := queue.RetryPolicy{Base: 100_000 * time.Hour, Cap: 300_000 * time.Hour, MaxAttempts: 5}
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Retry: policy})
	all := make([]*queue.Message, messages)
	for i := range all {
		all[i] = &queue.Message{Topic: "placed"}
	}
	publish(t, q, db, all...)
	for attempt := 1; attempt < policy.MaxAttempts; attempt++ {
		eventually(t, "all have failed", func() bool {
			return one[int](t, db, `SELECT count(*) FROM river_job WHERE state <> 'completed' AND args ->> 'attempt' = $1`, strconv.Itoa(attempt)) == messages
		})
		samples := one[[]float64](t, db, `
			SELECT array_agg(extract(epoch FROM scheduled_at - (args -> 'history' -> -1 ->> 'at')::timestamptz)::float8)
			FROM river_job WHERE state <> 'completed' AND args ->> 'attempt' = $1`, strconv.Itoa(attempt))
		most := min(policy.Base<<(attempt-1), policy.Cap)
		if d := distance(samples, most.Seconds()); d > critical(messages) {
			t.Errorf("attempt %d: distance %.3f from the uniform distribution up to %s", attempt, d, most)
		}
		// Their time comes.
		if _, err := db.Exec(t.Context(), `UPDATE river_job SET scheduled_at = now(), state = 'available' WHERE state <> 'completed' AND state <> 'running'`); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are dead letters", func() bool { return one[int](t, db, `SELECT count(*) FROM dead_letters`) == messages })
}

// The next attempt is due by the database's clock, which decides what is due.
func TestWorker_retries_by_database_clock(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	// The database's clock is ten hours ahead. pg_catalog is searched last in new
	// connections.
	for _, statement := range []string{
		`CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT pg_catalog.clock_timestamp() + interval '10 hours' $$`,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$`,
	} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	db.Reset()
	handler, _ := deliveries(func(*queue.Message) (queue.Effect, error) {
		return nil, queue.Postpone(100*time.Hour, errors.New("later"))
	})
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{})
	publish(t, q, db, &queue.Message{Topic: "placed"})
	eventually(t, "it is postponed", func() bool { return one[int](t, db, `SELECT count(*) FROM river_job WHERE state = 'scheduled'`) == 1 })
	delay := one[float64](t, db, `SELECT extract(epoch FROM scheduled_at - clock_timestamp())::float8 / 3600 FROM river_job WHERE state = 'scheduled'`)
	if delay > 100 || delay < 95 {
		t.Errorf("due in %.1f hours by the database's clock; want 100", delay)
	}
}

// A message that fails delays nobody: others are delivered while it waits.
func TestWorker_failing_message_delays_nobody(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	handler, received := deliveries(func(m *queue.Message) (queue.Effect, error) {
		if m.Key == "bad" {
			return nil, errors.New("bad")
		}
		return nil, nil
	})
	hours := queue.RetryPolicy{Base: 1000 * time.Hour, Cap: 1000 * time.Hour, MaxAttempts: 8}
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Concurrency: 1, Retry: hours})
	all := []*queue.Message{{Topic: "placed", Key: "bad"}}
	for range 100 {
		all = append(all, &queue.Message{Topic: "placed", Key: "good"})
	}
	publish(t, q, db, all...)
	for range all {
		receive(t, received)
	}
}

func TestReasonOf(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                                   "plain",
		"a\x00b\nc\xff":                           "a b c?",
		"dial https://u:p@h/x":                    "dial https://***h/x",
		"Authorization: Bearer abcdefgh":          "Authorization: ***",
		"got Bearer abc.def-ghi":                  "got Bearer ***",
		`{"password":"x y","n":1}`:                `{"password":***,"n":1}`,
		"key rl_live_abc123 of tok_visa":          "key rl_live_*** of tok_***",
		"to me.too+x@shop.example: refused":       "to ***: refused",
		"order ord_abc of customer 7 at 12:30:05": "order ord_abc of customer 7 at 12:30:05",
	} {
		if got := queue.ReasonOf(errors.New(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for _, letter := range []string{"a", "é", "日"} {
		got := queue.ReasonOf(errors.New(strings.Repeat(letter, 100_000)))
		if len(got) > 510 || len(got) < 490 || !utf8.ValidString(got) {
			t.Errorf("%d bytes of %s, valid: %t", len(got), letter, utf8.ValidString(got))
		}
	}
}
