package usage

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"ratelimiter/migrations"
	"ratelimiter/models"
)

// migration returns a function that applies a migration, or its reverse.
func (f *fixture) migration(version int64) (apply func(up bool)) {
	f.t.Helper()
	db := stdlib.OpenDBFromPool(f.db)
	f.t.Cleanup(func() { _ = db.Close() })
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		f.t.Fatal(err)
	}
	return func(up bool) {
		f.t.Helper()
		if _, err := provider.ApplyVersion(f.t.Context(), version, up); err != nil {
			f.t.Fatal(err)
		}
	}
}

// Usage of the previous release is kept by the migration, and a migration back keeps
// it too, packed or not.
func TestMigration_keeps_usage(t *testing.T) {
	f := newFixture(t, "k")
	apply := f.migration(53)
	seconds := func() (n int64) {
		t.Helper()
		list, err := f.seconds(t.Context(), "k", time.Now().Add(-8*24*time.Hour), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			n += s.Succeeded
		}
		return n
	}
	apply(false)
	for day := range 8 {
		f.exec(`SELECT keep_partitions(now() - $1 * interval '1 day')`, 7-day)
	}
	f.exec(`INSERT INTO usage_seconds SELECT 'k', date_trunc('second', now()) - i * interval '1 hour', 'g', 1, i + 1, 0, 0, 0, 0, 999 FROM generate_series(0, 167) i`)
	f.exec(`INSERT INTO usage_flushes VALUES ('00000000-0000-0000-0000-000000000001', now())`)
	const sum = 168 * 169 / 2
	apply(true)
	if n := f.number(`SELECT count(*) FROM usage_flushes`); n != 1 || seconds() != sum {
		t.Errorf("%d batches and %d requests after the migration; want 1 and %d", n, seconds(), sum)
	}
	f.exec(`WITH moved AS (DELETE FROM usage_seconds RETURNING *) INSERT INTO usage_recent SELECT * FROM moved`)
	f.pack(time.Now().Add(time.Hour))
	if n := f.number(`SELECT count(*) FROM usage_packed`); n != 168 || seconds() != sum {
		t.Errorf("%d rows of %d requests after packing; want 168 and %d", n, seconds(), sum)
	}
	f.exec(`INSERT INTO usage_seconds SELECT key_id, at + second[1] * interval '1 second', route_group, unit, 1, 0, 0, 0, 0, 0 FROM usage_packed LIMIT 1`)
	apply(false)
	if n := f.number(`SELECT sum(succeeded) FROM usage_seconds`); n != sum+1 {
		t.Errorf("%d requests after the migration back; want %d", n, sum+1)
	}
	if n := f.number(`SELECT count(*) FROM usage_flushes`); n != 1 {
		t.Errorf("%d batches after the migration back; want 1", n)
	}
	apply(true)
}

// The history of the previous release is read after the migration, with what its
// instances still write. A migration back rolls up what is not packed.
func TestMigration_keeps_history(t *testing.T) {
	f := newFixture(t, "k")
	apply := f.migration(90)
	apply(false)
	m := newModel(f)
	random := rand.New(rand.NewPCG(3, 0))
	for range 20 {
		m.previousRelease(random)
	}
	apply(true)
	m.mustCheck(random)
	for range 20 {
		m.previousRelease(random)
		m.flush(random)
	}
	m.pack(random)
	m.flush(random)
	m.mustCheck(random)
	apply(false)
	for bucket, table := range rollUps {
		rows, err := f.db.Query(t.Context(), `SELECT key_id, at, sum(requests)::bigint, sum(refused)::bigint, sum(cost)::bigint FROM `+table+` GROUP BY 1, 2`)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		var key string
		var u models.Usage
		if _, err := pgx.ForEachRow(rows, []any{&key, &u.Start, &u.Requests, &u.Refused, &u.Cost}, func() error {
			n++
			if want := m.bucket(key, "", bucket, u.Start); u.Requests != want.Requests || u.Refused != want.Refused || u.Cost != want.Cost {
				t.Errorf("%s of %s after the migration back: %+v; want %+v", bucket, key, u, want)
			}
			return nil
		}); err != nil || n == 0 {
			t.Errorf("%d rows of %s, error %v", n, table, err)
		}
	}
	requests := f.number(`SELECT sum(succeeded + rejected + failed + refused) FROM usage_seconds`) +
		f.number(`SELECT sum(n) FROM usage_packed, unnest(succeeded || rejected || failed || refused) AS n`)
	if want := m.requests(); requests != want {
		t.Errorf("%d requests by second after the migration back; want %d", requests, want)
	}
	apply(true)
	m.mustCheck(random)
}
