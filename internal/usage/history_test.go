package usage

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// model knows what was flushed and compares the history with it.
type model struct {
	*fixture
	now     time.Time
	flushed truth
	batches []cache.Batch[cell, counts] // flushed
}

// modelKeys are the keys of a model. The first two share their history.
var modelKeys = []string{"k", "rotated", "other"}

var buckets = []models.UsageBucket{models.BucketMinute, models.BucketHour, models.BucketDay}

func newModel(f *fixture) *model {
	f.t.Helper()
	for _, key := range modelKeys {
		f.exec(`INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
			VALUES ($1, $1, 'free', 'own', replace($1, 'rotated', 'k'), '{}', sha256($1::bytea), 'v1') ON CONFLICT DO NOTHING`, key)
	}
	return &model{fixture: f, now: time.Now().UTC(), flushed: truth{}}
}

// entries returns random counts. Most are of the last minutes, on few different
// seconds and around the ends of minutes and hours; some are of hours ago.
func (m *model) entries(random *rand.Rand) []cache.Entry[cell, counts] {
	list := map[cell]counts{}
	for range 1 + random.IntN(8) {
		at := m.now.Add(-time.Duration(random.IntN(1200)) * time.Second)
		switch random.IntN(4) {
		case 0:
			at = at.Truncate(time.Minute).Add(time.Duration(random.IntN(2)-1) * time.Second)
		case 1:
			at = m.now.Truncate(time.Hour).Add(-time.Duration(random.IntN(20))*time.Hour + time.Duration(random.IntN(2)-1)*time.Second)
		}
		n := counts{
			succeeded: 1 + random.Uint32N(4), rejected: random.Uint32N(3), failed: random.Uint32N(2), refused: random.Uint32N(3),
			firstMS: uint16(random.UintN(500)), lastMS: uint16(500 + random.UintN(500)),
		}
		list[cell{modelKeys[random.IntN(len(modelKeys))], []*models.Route{read, write, free}[random.IntN(3)], at.Unix()}] = n
	}
	var entries []cache.Entry[cell, counts]
	for c, n := range list {
		entries = append(entries, cache.Entry[cell, counts]{Key: c, Value: n})
	}
	slices.SortFunc(entries, func(a, b cache.Entry[cell, counts]) int {
		return strings.Compare(fmt.Sprint(a.Key.second, a.Key.key, a.Key.route.Name), fmt.Sprint(b.Key.second, b.Key.key, b.Key.route.Name))
	})
	return entries
}

// add adds entries to what is flushed.
func (m *model) add(entries []cache.Entry[cell, counts]) {
	for _, e := range entries {
		if e.Key.route.Cost == 0 {
			continue
		}
		n := m.flushed[e.Key]
		if n == nil {
			n = &counts{firstMS: e.Value.firstMS, lastMS: e.Value.lastMS}
			m.flushed[e.Key] = n
		}
		n.succeeded += e.Value.succeeded
		n.rejected += e.Value.rejected
		n.failed += e.Value.failed
		n.refused += e.Value.refused
		n.firstMS, n.lastMS = min(n.firstMS, e.Value.firstMS), max(n.lastMS, e.Value.lastMS)
	}
}

// flush flushes a batch of a random instance.
func (m *model) flush(random *rand.Rand) {
	m.t.Helper()
	batch := cache.Batch[cell, counts]{At: m.now, Entries: m.entries(random)}
	binary.BigEndian.PutUint64(batch.ID[:], uint64(len(m.batches)+1))
	m.send(batch)
	m.batches = append(m.batches, batch)
	m.add(batch.Entries)
}

// repeat flushes an earlier batch again, whose response was lost.
func (m *model) repeat(random *rand.Rand) {
	m.t.Helper()
	if len(m.batches) > 0 {
		m.send(m.batches[random.IntN(len(m.batches))])
	}
}

func (m *model) send(batch cache.Batch[cell, counts]) {
	m.t.Helper()
	if err := m.flushCounts(m.t.Context(), batch); err != nil {
		m.t.Fatal(err)
	}
}

// pack packs what is complete at a random time.
func (m *model) pack(random *rand.Rand) {
	m.t.Helper()
	m.fixture.pack(m.now.Add(time.Duration(random.IntN(30)-15) * time.Minute))
}

// crash is an instance that ends while it packs.
func (m *model) crash() {
	m.t.Helper()
	tx, err := m.db.Begin(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := tx.Exec(m.t.Context(), pack, m.now, "z", m.now); err != nil {
		m.t.Fatal(err)
	}
	if err := tx.Rollback(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

// previousRelease writes what an instance of the previous release writes: seconds
// and roll-ups.
func (m *model) previousRelease(random *rand.Rand) {
	m.t.Helper()
	entries := m.entries(random)
	for _, e := range entries {
		if e.Key.route.Cost == 0 {
			continue
		}
		at, n := time.Unix(e.Key.second, 0).UTC(), e.Value
		m.exec(`INSERT INTO usage_seconds AS old VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (key_id, at, route_group, unit) DO UPDATE SET
			succeeded = old.succeeded + excluded.succeeded, rejected = old.rejected + excluded.rejected,
			failed = old.failed + excluded.failed, refused = old.refused + excluded.refused`,
			e.Key.key, at, e.Key.route.Group, e.Key.route.Cost, n.succeeded, n.rejected, n.failed, n.refused, int16(n.firstMS), int16(n.lastMS))
		for bucket, table := range rollUps {
			m.exec(`INSERT INTO `+table+` AS old VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (key_id, at, route_group) DO UPDATE SET
				requests = old.requests + excluded.requests, refused = old.refused + excluded.refused, cost = old.cost + excluded.cost`,
				e.Key.key, at.Truncate(bucket.Duration()), e.Key.route.Group, n.requests(), n.refused, int64(n.succeeded+n.rejected)*e.Key.route.Cost)
		}
	}
	m.add(entries)
}

// bucket returns what is flushed of a key, without those that share its history, to
// routes of a group in one bucket.
func (m *model) bucket(key, group string, width models.UsageBucket, start time.Time) models.Usage {
	u := models.Usage{Start: start.UTC()}
	for c, n := range m.flushed {
		if at := time.Unix(c.second, 0); c.key != key || group != "" && string(c.route.Group) != group || !at.Truncate(width.Duration()).Equal(start) {
			continue
		}
		u.Requests += n.requests()
		u.Refused += int64(n.refused)
		u.Cost += int64(n.succeeded+n.rejected) * c.route.Cost
	}
	u.Allowed = u.Requests - u.Refused
	return u
}

// requests returns how many requests are flushed.
func (m *model) requests() (sum int64) {
	for _, n := range m.flushed {
		sum += n.requests()
	}
	return sum
}

// want returns the history of a key that q selects.
func (m *model) want(key string, q models.UsageQuery) []models.Usage {
	var list []models.Usage
	width := q.Bucket.Duration()
	for start := q.From.Truncate(width); start.Before(q.To); start = start.Add(width) {
		sum := models.Usage{Start: start}
		for _, k := range modelKeys {
			if k == key || k != "other" && key != "other" {
				u := m.bucket(k, q.Group, q.Bucket, start)
				sum.Requests, sum.Allowed = sum.Requests+u.Requests, sum.Allowed+u.Allowed
				sum.Refused, sum.Cost = sum.Refused+u.Refused, sum.Cost+u.Cost
			}
		}
		if sum.Requests > 0 {
			list = append(list, sum)
		}
	}
	return list
}

// check compares random parts of the history with what is flushed.
func (m *model) check(random *rand.Rand) error {
	m.t.Helper()
	for _, key := range modelKeys {
		for _, bucket := range buckets {
			q := models.UsageQuery{Bucket: bucket, From: m.now.Add(-24 * time.Hour), To: m.now.Add(time.Minute)}
			if bucket == models.BucketMinute {
				q.From = m.now.Add(-25 * time.Minute)
			}
			if random.IntN(3) == 0 {
				q.From = q.From.Add(time.Duration(random.Int64N(int64(q.To.Sub(q.From))))).Truncate(time.Second)
				q.To = q.From.Add(time.Duration(random.Int64N(int64(q.To.Sub(q.From))))).Truncate(time.Second)
			}
			if random.IntN(3) == 0 {
				q.Group = string(write.Group)
			}
			got, err := m.Usage(m.t.Context(), key, q)
			if err != nil {
				m.t.Fatal(err)
			}
			if want := m.want(key, q); !slices.Equal(got, want) {
				return fmt.Errorf("usage of %s, %+v:\n got %+v\nwant %+v", key, q, got, want)
			}
		}
	}
	return nil
}

func (m *model) mustCheck(random *rand.Rand) {
	m.t.Helper()
	if err := m.check(random); err != nil {
		m.t.Fatal(err)
	}
}

// run returns the first difference after random steps.
func (m *model) run(random *rand.Rand) error {
	for range 30 {
		switch random.IntN(8) {
		case 0, 1, 2:
			m.flush(random)
		case 3:
			m.repeat(random)
		case 4:
			m.previousRelease(random)
		case 5, 6:
			m.pack(random)
		case 7:
			m.crash()
		}
		if err := m.check(random); err != nil {
			return err
		}
	}
	return nil
}

// TestUsage_Model flushes random batches, some of them late, repeated, or of an
// instance of the previous release, while Pack runs at random times and sometimes
// crashes. The history is always what was flushed.
func TestUsage_Model(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			if err := newModel(newFixture(t)).run(rand.New(rand.NewPCG(4, seed))); err != nil {
				t.Error(err)
			}
		})
	}
}

// faults are parts of the statements and what they are replaced by.
var faults = map[string]struct {
	statement *string
	old, new  string
}{
	"rolled up twice":         {&pack, "WITH moved AS (\n\tDELETE FROM usage_recent WHERE at < $1 AND (key_id, at) <= ($2, $3) RETURNING *\n)", "WITH moved AS (\n\tSELECT * FROM usage_recent WHERE at < $1 AND (key_id, at) <= ($2, $3)\n)"},
	"late flush missed":       {&pack, "FROM moved GROUP BY 1, 2, 3\n", "FROM moved WHERE at >= COALESCE((SELECT max(at) FROM usage_packed), '-infinity') GROUP BY 1, 2, 3\n"},
	"roll-up overwritten":     {&pack, "old.requests + excluded.requests", "excluded.requests"},
	"read without recent":     {&history, "FROM usage_recent WHERE ", "FROM usage_recent WHERE false AND "},
	"read without roll-ups":   {&history, "FROM %s WHERE ", "FROM %s WHERE false AND "},
	"repeated batch counted":  {&writeCounts, "FROM flush, unnest(", "FROM unnest("},
	"refunds counted as cost": {&pack, "sum((succeeded + rejected) * unit)", "sum((succeeded + rejected + failed) * unit)"},
}

// TestUsage_Model_catches breaks the statements: the model must find a difference.
func TestUsage_Model_catches(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			fault := faults[name]
			correct := *fault.statement
			t.Cleanup(func() { *fault.statement = correct })
			if *fault.statement = strings.ReplaceAll(correct, fault.old, fault.new); *fault.statement == correct {
				t.Fatal("the statement doesn't have the part that is to be replaced")
			}
			for seed := range uint64(4) {
				if err := newModel(newFixture(t)).run(rand.New(rand.NewPCG(4, seed))); err != nil {
					t.Logf("found with seed %d", seed)
					return
				}
			}
			t.Error("not found")
		})
	}
}

// TestUsage_Concurrent flushes from two instances that lose their connection to
// Postgres at times and repeat what they don't know to be written, while two others
// pack. A reader never sees fewer requests than before, or more than were sent.
func TestUsage_Concurrent(t *testing.T) {
	const flushes = 60
	observer := newFixture(t, "k")
	start := time.Now().UTC().Add(-2 * time.Hour)
	var sent atomic.Int64
	var writers, others sync.WaitGroup
	for instance := range 2 {
		pool, proxy := proxied(t, observer.db)
		f := newFixtureOn(t, observer.db, pool)
		random := rand.New(rand.NewPCG(5, uint64(instance)))
		writers.Go(func() {
			for i := range flushes {
				n := 1 + random.Uint32N(5)
				batch := cache.Batch[cell, counts]{ID: [16]byte{byte(instance), byte(i)}, Entries: []cache.Entry[cell, counts]{
					{Key: cell{"k", read, start.Unix() + random.Int64N(3600)}, Value: counts{succeeded: n}},
				}}
				sent.Add(int64(n))
				if random.IntN(4) == 0 {
					loseResponse(proxy, func() { _ = f.flushCounts(t.Context(), batch) })
				}
				for f.flushCounts(t.Context(), batch) != nil && t.Context().Err() == nil {
				}
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		others.Go(func() {
			for !isClosed(done) {
				if _, err := observer.Pack(t.Context(), time.Now()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var before int64
	others.Go(func() {
		for !isClosed(done) {
			n := observer.recorded("k")
			if n < before || n > sent.Load() {
				t.Errorf("%d requests in the history, after %d, of %d", n, before, sent.Load())
			}
			before = n
		}
	})
	writers.Wait()
	close(done)
	others.Wait()
	if n := observer.recorded("k"); n != sent.Load() {
		t.Errorf("%d requests in the history; want %d", n, sent.Load())
	}
}

// loseResponse cuts the connection when the first response to call arrives.
func loseResponse(proxy *testkit.Proxy, call func()) {
	proxy.FreezeResponses()
	done := make(chan struct{})
	go func() {
		call()
		close(done)
	}()
	for !proxy.Holding() && !isClosed(done) {
		time.Sleep(time.Millisecond)
	}
	proxy.Cut()
	<-done
	proxy.Thaw()
	proxy.Mend()
}

func isClosed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
