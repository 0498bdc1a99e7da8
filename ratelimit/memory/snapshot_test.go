package memory

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// allAlgorithms returns a policy of each algorithm, and a small sliding_window,
// which counts with a list.
func allAlgorithms() []ratelimit.Policy {
	return []ratelimit.Policy{
		{Name: "bucket", Algorithm: ratelimit.TokenBucket, Limit: 100, Period: "1m", Burst: 200},
		{Name: "leaky", Algorithm: ratelimit.LeakyBucket, Limit: 100, Period: "1m", MaxWait: "1m"},
		{Name: "fixed", Algorithm: ratelimit.FixedWindow, Limit: 4000, Period: "5m", Per: ratelimit.PerOwner},
		{Name: "sliding", Algorithm: ratelimit.SlidingWindow, Limit: 150, Period: "2m"},
		{Name: "small", Algorithm: ratelimit.SlidingWindow, Limit: 32, Period: "30s"},
		{Name: "log", Algorithm: ratelimit.SlidingLog, Limit: 1000, Period: "3m", Per: ratelimit.PerOwner},
		{Name: "calendar", Algorithm: ratelimit.Calendar, Limit: 100_000, Period: ratelimit.Month},
		{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 8, Hold: "2m"},
	}
}

// used is a limiter over subjects that have spent at random for ten minutes.
func used(t *testing.T, quota *ratelimit.Quota) *testLimiter {
	t.Helper()
	c := newTestLimiter()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		c.at = c.at.Add(time.Duration(rng.IntN(60)) * time.Millisecond)
		c.take(t, bind(quota, rng.IntN(200)), 1+rng.Int64N(3))
	}
	return c
}

func saved(t *testing.T, c *testLimiter) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := c.store.Save(&file, c.at.UnixNano()); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestStore_snapshot(t *testing.T) {
	quota := mustQuota(t, allAlgorithms()...)
	before, after := used(t, quota), newTestLimiter()
	subjects, err := after.store.Load(bytes.NewReader(saved(t, before)), before.at.UnixNano())
	if err != nil || subjects < 200 {
		t.Fatalf("Load = %d, %v, want at least the 200 keys", subjects, err)
	}
	spent := 0
	for _, later := range []time.Duration{0, time.Second, time.Minute, 2 * time.Minute} {
		before.at = before.at.Add(later)
		after.at = before.at
		for i := range 200 {
			want, err := before.PeekAll(ctx, bind(quota, i))
			if err != nil {
				t.Fatal(err)
			}
			got, err := after.PeekAll(ctx, bind(quota, i))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("subject %d after %v: %+v, %v, want %+v", i, later, got, err, want)
			}
			for _, s := range got.Statuses() {
				if s.Remaining < s.Limit {
					spent++
				}
			}
		}
	}
	if spent < 1000 {
		t.Errorf("only %d counters weren't fresh", spent)
	}
	for i := range before.store.shards { // the account of each subject
		a, b := &before.store.shards[i].accounts, &after.store.shards[i].accounts
		for n := range a.numbered {
			if a.numbered[n].size > 0 && b.numbered[b.open(a.numbered[n].hash)].size == 0 {
				t.Fatalf("shard %d: account %d has no subjects", i, n)
			}
		}
	}
}

func TestStore_snapshot_after_load(t *testing.T) {
	quota := mustQuota(t, allAlgorithms()...)
	before, after := used(t, quota), newTestLimiter()
	if _, err := after.store.Load(bytes.NewReader(saved(t, before)), before.at.UnixNano()); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for range 20_000 { // every counter goes on as if nothing had happened
		before.at = before.at.Add(time.Duration(rng.IntN(60)) * time.Millisecond)
		after.at = before.at
		i, cost := rng.IntN(200), 1+rng.Int64N(3)
		want, got := before.take(t, bind(quota, i), cost), after.take(t, bind(quota, i), cost)
		if !reflect.DeepEqual(got.Decision.Violated(), want.Decision.Violated()) || got.Decision.Allowed != want.Decision.Allowed {
			t.Fatalf("subject %d: %v, want %v", i, got.Decision.Statuses(), want.Decision.Statuses())
		}
	}
}

func TestStore_snapshot_unusable(t *testing.T) {
	quota := mustQuota(t, allAlgorithms()...)
	c := used(t, quota)
	good, now := saved(t, c), c.at.UnixNano()
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, file := range map[string]struct {
		data []byte
		now  int64
	}{
		"empty":         {nil, now},
		"cut":           {good[:len(good)-1], now},
		"half":          {good[:len(good)/2], now},
		"one_bit":       {flipped, now},
		"too_old":       {good, now + maxSnapshotAge + 1},
		"not_ours":      {bytes.Repeat([]byte("x"), 4096), now},
		"other_version": {versioned(good), now},
	} {
		t.Run(name, func(t *testing.T) {
			store := New()
			if n, err := store.Load(bytes.NewReader(file.data), file.now); n != 0 || !errors.Is(err, ErrSnapshot) {
				t.Errorf("Load = %d, %v, want ErrSnapshot", n, err)
			}
			if n := store.Len(); n != 0 {
				t.Errorf("%d subjects were added", n)
			}
		})
	}
}

// versioned returns a snapshot of another version with the right checksum.
func versioned(good []byte) []byte {
	body := bytes.Clone(good[:len(good)-32])
	body[5]++
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func TestStore_snapshot_leaves_out_idle(t *testing.T) {
	c := newTestLimiter()
	c.take(t, bind(mustQuota(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s"}), 1), 1)
	c.at = c.at.Add(2 * time.Second)
	if n, err := New().Load(bytes.NewReader(saved(t, c)), c.at.UnixNano()); n != 0 || err != nil {
		t.Errorf("Load = %d, %v, want nothing", n, err)
	}
}
