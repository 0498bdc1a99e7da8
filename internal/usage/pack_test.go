package usage

import (
	"cmp"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// truth is what was recorded, by cell.
type truth map[cell]*counts

// seconds returns what should be read of a key.
func (recorded truth) seconds(key string) []second {
	var list []second
	for c, n := range recorded {
		if c.key == key {
			list = append(list, second{
				At: time.Unix(c.second, 0).UTC(), RouteGroup: string(c.route.Group), Unit: c.route.Cost,
				Succeeded: int64(n.succeeded), Rejected: int64(n.rejected), Failed: int64(n.failed), Refused: int64(n.refused),
				FirstMS: int16(n.firstMS), LastMS: int16(n.lastMS),
			})
		}
	}
	slices.SortFunc(list, func(a, b second) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.RouteGroup, b.RouteGroup)) })
	return list
}

// pack calls Pack until nothing is left.
func (f *fixture) pack(now time.Time) {
	f.t.Helper()
	for more := true; more; {
		var err error
		if more, err = f.Pack(f.t.Context(), now); err != nil {
			f.t.Fatal(err)
		}
	}
}

// recordRandom records requests in ten minutes, flushes and adds them to recorded.
func (f *fixture) recordRandom(random *rand.Rand, minute time.Time, recorded truth) {
	for range random.IntN(50) {
		at := minute.Add(time.Duration(random.IntN(600_000)) * time.Millisecond)
		key, route := []string{"k", "k", "k", "other"}[random.IntN(4)], []*models.Route{read, write}[random.IntN(2)]
		outcome, decision := ratelimit.Outcome(random.IntN(3)), allowed
		if random.IntN(5) == 0 {
			decision = refusedDecision
		}
		f.Record(request(key), route, at, outcome, decision)
		c := cell{key, route, at.Unix()}
		if recorded[c] == nil {
			recorded[c] = &counts{}
		}
		recorded[c].add(outcome, decision.Allowed, uint16(at.UnixMilli()%1000))
	}
	f.flush()
}

// check compares what is read, in pieces, with what was recorded.
func (f *fixture) check(recorded truth, start time.Time) {
	f.t.Helper()
	for _, key := range []string{"k", "other"} {
		var got []second
		for piece := range 20 {
			from := start.Add(time.Duration(piece) * 217 * time.Second)
			rows, err := f.seconds(f.t.Context(), key, from, from.Add(217*time.Second))
			if err != nil {
				f.t.Fatal(err)
			}
			got = append(got, rows...)
		}
		if want := recorded.seconds(key); !slices.Equal(got, want) {
			f.t.Fatalf("%s: %d seconds\n%+v\nwant %d\n%+v", key, len(got), got, len(want), want)
		}
	}
}

// TestPack_Model records random requests, some of them late, while Pack runs at
// random times. What is read and simulated is what was recorded.
func TestPack_Model(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			f := newFixture(t, "k", "other")
			random, recorded := rand.New(rand.NewPCG(2, seed)), truth{}
			start := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
			for range 50 {
				minute := start.Add(time.Duration(random.IntN(60)) * time.Minute)
				f.recordRandom(random, minute, recorded)
				if random.IntN(4) == 0 {
					f.pack(minute.Add(time.Duration(random.IntN(60)) * time.Minute))
				}
			}
			f.check(recorded, start)
			simulate := func() models.Simulation {
				policies := parse(t, `[{"name":"burst","algorithm":"token_bucket","limit":1,"period":"5s","burst":3}]`)
				s, err := f.Simulate(t.Context(), "k", policies, start, start.Add(70*time.Minute))
				if err != nil || s.WouldRefuse == 0 {
					t.Fatalf("%+v, %v", s, err)
				}
				return s
			}
			before := simulate()
			f.pack(time.Now().Add(time.Hour))
			f.check(recorded, start)
			if after := simulate(); !reflect.DeepEqual(after, before) {
				t.Errorf("the simulation of packed seconds is %+v; want %+v", after, before)
			}
			if n := f.number(`SELECT count(*) FROM usage_recent`); n != 0 {
				t.Errorf("%d rows are not packed", n)
			}
		})
	}
}

// TestPack_Size measures a key that sends a request per second, and a busy one
// with ten groups, whose rows are more than a batch.
func TestPack_Size(t *testing.T) {
	for name, test := range map[string]struct{ seconds, groups, most int64 }{
		"steady": {21_600, 1, 1}, "busy": {6_000, 10, 20},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "OciwqgV8mKFf")
			emptySeconds, emptyPacked := f.size("usage_recent"), f.size("usage_packed")
			day := time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
			f.exec(`INSERT INTO usage_recent SELECT 'OciwqgV8mKFf', $1::timestamptz + i * interval '1 second', 'group' || g || ':read', 1,
				1 + floor(random() * ($4 - 1))::int, floor(random() * $4 / 9)::int, floor(random() * $4 / 15)::int, floor(random() * $4 / 5)::int,
				ms, CASE WHEN $4 = 1 THEN ms ELSE 999 - ms / 5 END
				FROM generate_series(0, $2 - 1) AS i, generate_series(1, $3) AS g, LATERAL (SELECT (random() * 999 + 0 * (i + g))::smallint) AS r (ms)`,
				day, test.seconds, test.groups, test.most)
			const requests = `SELECT sum(succeeded + rejected + failed + refused)::bigint FROM `
			sent, unpacked := f.number(requests+`usage_recent`), f.size("usage_recent")-emptySeconds
			f.pack(time.Now())
			packed := f.size("usage_packed") - emptyPacked
			if n := f.number(`SELECT count(*) FROM usage_recent`); n != 0 {
				t.Errorf("%d rows are not packed", n)
			}
			perDay := func(size int64) int64 { return size * 86_400 / test.seconds / 1000 }
			t.Logf("a key-day takes %d kB unpacked, %d kB packed: %.0f times less", perDay(unpacked), perDay(packed), float64(unpacked)/float64(packed))
			if unpacked < 8*packed {
				t.Errorf("packed in %d B of %d", packed, unpacked)
			}
			rows, err := f.seconds(t.Context(), "OciwqgV8mKFf", day, day.Add(24*time.Hour))
			var read int64
			for i := range rows {
				read += rows[i].Succeeded + rows[i].Rejected + rows[i].Failed + rows[i].Refused
			}
			if err == nil && (int64(len(rows)) != test.seconds*test.groups || read != sent) {
				t.Errorf("%d seconds of %d requests; want %d of %d, %v", len(rows), read, test.seconds*test.groups, sent, err)
			}
		})
	}
}

// size returns the bytes of a table's partitions with their indexes.
func (f *fixture) size(table string) int64 {
	f.t.Helper()
	return f.number(`SELECT sum(pg_total_relation_size(relid))::bigint FROM (SELECT relid FROM pg_partition_tree($1::regclass) UNION SELECT $1::regclass) AS t`, table)
}
