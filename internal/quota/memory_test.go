package quota

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// richKey is a key with everything that can be given to it: 16 overrides with
// long names, groups and reasons, and 50 labels. Keys with the same variant have
// the same overrides.
func richKey(id string, variant int) keyAndPlan {
	row := keyAndPlan{Policies: `[{"name":"monthly","algorithm":"calendar","limit":10000,"period":"month","time_zone":"Europe/Berlin"}]`}
	row.APIKey = models.APIKey{
		ID: id, Name: strings.Repeat("n", 100), Plan: "free", Owner: "owner of " + id, Subject: id, Metadata: map[string]string{},
		Scopes: []models.Scope{models.ScopeProductsRead, models.ScopeOrdersRead, models.ScopeOrdersWrite},
	}
	for i := range 50 {
		row.Metadata[fmt.Sprintf("label-%02d-%s", i, id)] = strings.Repeat("v", 500)
	}
	for i := range ratelimit.MaxPolicies - 1 {
		row.Overrides = append(row.Overrides, models.Override{
			Reason: strings.Repeat("r", 200),
			Policy: ratelimit.Policy{
				Name: fmt.Sprintf("override-with-a-long-name-%d", i), Algorithm: ratelimit.SlidingWindow, Limit: int64(1000 + variant),
				Period: "90s", Group: fmt.Sprint("group-", i), Per: ratelimit.PerKey,
			},
		})
	}
	row.Overrides = append(row.Overrides, models.Override{Policy: ratelimit.Policy{
		Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 99, Period: "month", TimeZone: "America/New_York",
	}})
	return row
}

// heapOf returns the bytes that are in use after fill and weren't before.
func heapOf(fill func()) int {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	fill()
	runtime.GC()
	runtime.GC() // the first moves pools to their victim caches
	runtime.ReadMemStats(&after)
	return int(after.HeapAlloc) - int(before.HeapAlloc)
}

// cacheKeys caches and uses n keys, of as many variants of overrides, as
// requests do.
func cacheKeys(t *testing.T, r *Resolver, n, variants int) {
	t.Helper()
	now := time.Now()
	for i := range n {
		id := fmt.Sprintf("key%09d", i)
		entry, err := r.share(richKey(id, i%variants), now)
		if err != nil {
			t.Fatal(err)
		}
		entry.snapshot = r.generations.snapshot(r.generations.now(), id, "free")
		load := func(context.Context) (*resolved, error) { return entry, nil }
		if _, err := r.cache.Get(t.Context(), keyHash{byte(i), byte(i >> 8), byte(i >> 16)}, now, load); err != nil {
			t.Fatal(err)
		}
		r.inForce(entry)
	}
}

// TestResolver_memory measures the heap of cached keys with 16 overrides: keys
// with the same overrides share them, and keys with different ones stay within
// the bound by weight.
func TestResolver_memory(t *testing.T) {
	const keys, room = 10_000, 8_000
	const bound = room * keyBytes
	for name, c := range map[string]struct {
		variants int
		mode     string
	}{
		"shared": {10, models.ModeEnforce}, "different": {keys, models.ModeEnforce},
		"shared_in_shadow": {10, models.ModeShadow}, "different_in_shadow": {keys, models.ModeShadow},
	} {
		t.Run(name, func(t *testing.T) {
			mode := NewEnforcementMode(nil, noInvalidator{})
			mode.Apply(c.mode, 1, false)
			r, err := NewResolver(nil, anyKey{}, mode, CacheConfig{Keys: room, TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Close)
			row := richKey("k", 0)
			if _, err := compile(&row, time.Now()); err != nil { // loads the time zones, which are no part of the cache
				t.Fatal(err)
			}
			heap := heapOf(func() { cacheKeys(t, r, keys, c.variants) })
			n := r.cache.Len()
			t.Logf("%d of %d keys are cached, in %d KB: %d bytes a key", n, keys, heap>>10, heap/n)
			if heap > bound {
				t.Errorf("cached keys take %d bytes, want at most %d", heap, bound)
			}
			if c.variants < keys && n < room*95/100 {
				t.Errorf("%d keys are cached, want %d: shared policies count more than once", n, room)
			}
			runtime.KeepAlive(r)
		})
	}
}
