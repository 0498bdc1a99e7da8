package usage

import (
	"testing"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// TestFlush_WrongClock records requests on a machine whose clock is wrong: they
// are counted at the database's time, once.
func TestFlush_WrongClock(t *testing.T) {
	f := newFixture(t, "k")
	f.exec(`DROP TABLE ` + f.today("usage_minutes") + `, ` + f.today("usage_policies") + `, ` + f.today("refusals"))
	f.exec(`CREATE TABLE usage_days_20200101 PARTITION OF usage_days FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')`)
	for _, ahead := range []time.Duration{10 * 24 * time.Hour, -10 * 24 * time.Hour, 500 * 24 * time.Hour, time.Hour} {
		f.Record(request("k"), read, time.Now().Add(ahead), ratelimit.Succeeded, allowed)
		f.Record(request("k"), read, time.Now().Add(ahead), ratelimit.Rejected, refusedBy(t))
		_ = f.Flush(t.Context()) // creates missing partitions
		f.flush()
	}
	for range 2 { // before and after packing
		if got := f.history("k", time.Now(), models.BucketMinute); len(got) == 0 || len(got) > 2 || f.recorded("k") != 8 {
			t.Errorf("%+v", got)
		}
		_, _ = f.Pack(t.Context(), time.Now().Add(time.Hour)) // creates missing partitions
		f.pack(time.Now().Add(time.Hour))
	}
	if n := f.number(`SELECT sum(requests) FROM usage_minutes`); n != 8 {
		t.Errorf("packed %d requests, want 8", n)
	}
	if n := f.number(`SELECT sum(refused) FROM usage_policies WHERE at BETWEEN now() - interval '2 minutes' AND now()`); n != 8 { // an enforced and a shadow policy
		t.Errorf("%d refusals by policy, want 8", n)
	}
	if n := f.number(`SELECT count(*) FROM refusals WHERE at BETWEEN now() - interval '1 minute' AND now()`); n != 4 {
		t.Errorf("%d refusals, want 4", n)
	}
	if n := f.number(`SELECT count(*) FROM api_keys WHERE last_used_at <= now()`); n != 1 {
		t.Error("the key's last use isn't the database's time")
	}
	if n := f.number(`SELECT count(*) FROM pg_class WHERE relname = 'usage_days_20200101'`); n != 1 {
		t.Error("a write dropped an expired partition")
	}
}

// today returns the name of a table's present partition.
func (f *fixture) today(table string) (name string) {
	f.t.Helper()
	if err := f.db.QueryRow(f.t.Context(), `SELECT max(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = $1::regclass AND right(c.relname, 8) <= to_char(now(), 'YYYYMMDD')`, table).Scan(&name); err != nil {
		f.t.Fatal(err)
	}
	return name
}
