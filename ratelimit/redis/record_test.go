package redis_test

import (
	"bytes"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/redis"
)

// TestStore_settled_once settles one reservation in several processes at once, as
// their batches are restored from its record.
func TestStore_settled_once(t *testing.T) {
	server := testkit.Redis(t)
	store := redis.New(connect(t, server.URL()))
	policies := []ratelimit.Policy{
		{Name: "window", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "366d"},
		{Name: "slots", Algorithm: ratelimit.Concurrency, Limit: 10, Per: ratelimit.PerOwner},
	}
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "k", Owner: "o", Slot: "tenant"})
	if err != nil {
		t.Fatal(err)
	}
	var c capture
	_, _ = ratelimit.New(&c).PeekAll(ctx, quota)
	b := &c.batch
	b.Cost, b.Holder = 6, 1
	if err := store.Take(ctx, b); err != nil || !b.Steps[0].Charged || !b.Steps[1].Charged {
		t.Fatalf("%+v, %v", b, err)
	}
	slot, data := b.Key.Slot, []byte("a record\x00")
	if err := store.PutRecord(ctx, slot, "id", data, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Record(ctx, slot, "id"); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("Record = %q, %v", got, err)
	}
	b.Once, b.Steps[0].Give, b.Steps[1].Give = "id", 2, 1
	var settled atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		again := clone(b)
		group.Go(func() {
			switch err := store.Give(ctx, again); {
			case err == nil:
				settled.Add(1)
			case !errors.Is(err, ratelimit.ErrSettled):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if settled.Load() != 1 {
		t.Fatalf("%d processes have settled the reservation, want 1", settled.Load())
	}
	if got, err := store.Record(ctx, slot, "id"); err != nil || got != nil {
		t.Fatalf("Record after the end = %q, %v, want none", got, err)
	}
	d, err := ratelimit.New(store).PeekAll(ctx, quota)
	if err != nil || d.Statuses()[0].Remaining != 6 || d.Statuses()[1].Remaining != 10 {
		t.Fatalf("%+v, %v, want 6 and 10", d.Statuses(), err)
	}
}

// TestStore_settled_once_in_full settles a reservation that gives nothing back.
func TestStore_settled_once_in_full(t *testing.T) {
	store := redis.New(connect(t, testkit.Redis(t).URL()))
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "window", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "366d"}}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	var c capture
	_, _ = ratelimit.New(&c).PeekAll(ctx, quota)
	b := &c.batch
	b.Cost, b.Once = 1, "id"
	if err := store.PutRecord(ctx, b.Key.Slot, "id", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := store.Give(ctx, b); err != nil {
		t.Fatal(err)
	}
	if err := store.Give(ctx, b); !errors.Is(err, ratelimit.ErrSettled) {
		t.Fatalf("the second end: %v, want ErrSettled", err)
	}
}

// TestStore_keys_expire finds that every key has an expiry, and that keys of one slot
// have one hash tag.
func TestStore_keys_expire(t *testing.T) {
	server := testkit.Redis(t)
	store := redis.New(connect(t, server.URL()))
	c := newCaller(t, connect(t, server.URL()), "k")
	c.want(1, 9)
	if err := store.PutRecord(ctx, 1, "id", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	keys := bytes.Fields([]byte(server.Do("KEYS", "*")))
	if len(keys) != 4 { // the key's counters, the owner's, its log, the record
		t.Fatalf("keys: %q", keys)
	}
	for _, key := range keys {
		if ttl := server.Do("PTTL", string(key)); ttl == "-1" {
			t.Errorf("%s doesn't expire", key)
		}
		if !bytes.HasPrefix(key, []byte("rl:{")) {
			t.Errorf("%s has no hash tag", key)
		}
	}
}

// TestStore_idle_keys_vanish spends a policy of a millisecond. The server removes its
// key once a late caller can't need it any more.
func TestStore_idle_keys_vanish(t *testing.T) {
	server := testkit.Redis(t)
	client := connect(t, server.URL())
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1ms"}}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	var r ratelimit.Reservation
	if err := ratelimit.New(redis.New(client)).Reserve(ctx, &r, quota, "", 1); err != nil {
		t.Fatal(err)
	}
	ttl, err := strconv.Atoi(server.Do("PTTL", server.Do("KEYS", "*")))
	if least := int(ratelimit.Skew.Milliseconds()); err != nil || ttl < least-1000 || ttl > least+4001 {
		t.Fatalf("the key expires in %d ms, %v, want %d to %d", ttl, err, least, least+4001)
	}
}
