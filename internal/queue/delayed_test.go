package queue_test

import (
	"testing"

	"ratelimiter/internal/queue"
)

// River looks for messages whose time has come without reading all that are
// delayed.
func TestWorker_many_delayed(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	if _, err := db.Exec(t.Context(), `INSERT INTO river_job (args, kind, queue, max_attempts, state, scheduled_at)
		SELECT '{}', 'delivery', 'stock', 32767, 'scheduled', now() + interval '1 day' FROM generate_series(1, 20000);
		ANALYZE river_job`); err != nil {
		t.Fatal(err)
	}
	const reads = `SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'river_job'`
	before := one[int](t, db, reads)
	handler, _ := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{})
	eventually(t, "the index of times is used", func() bool {
		return one[int](t, db, `SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'river_job_due'`) > 0
	})
	if n := one[int](t, db, reads) - before; n >= 20_000 {
		t.Errorf("%d rows were read one after another", n)
	}
}
