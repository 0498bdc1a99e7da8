package usage

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"ratelimiter/migrations"
)

// Usage of the previous release is kept by the migration and packed afterwards,
// and a migration back keeps it too.
func TestMigration_keeps_usage(t *testing.T) {
	f := newFixture(t, "k")
	db := stdlib.OpenDBFromPool(f.db)
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	apply := func(up bool) {
		t.Helper()
		if _, err := provider.ApplyVersion(t.Context(), 53, up); err != nil {
			t.Fatal(err)
		}
	}
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
