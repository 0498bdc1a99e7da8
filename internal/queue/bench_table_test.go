package queue_test

import (
	"flag"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
)

var benchHeld = flag.Int("bench-held", 180, "seconds for which BenchmarkHeldTransaction holds a transaction open, a multiple of 30")

// publishIn publishes messages in one transaction.
func publishIn(b *testing.B, s *subject, q *queue.Queue, messages ...*queue.Message) {
	b.Helper()
	if err := postgres.InTx(b.Context(), s.db, func(tx pgx.Tx) error { return q.Publish(b.Context(), tx, messages...) }); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMillionDelayed measures how much later messages are delivered if the
// table has 1,000,000 that wait for a later time, in turns with a table without.
func BenchmarkMillionDelayed(b *testing.B) {
	const rounds, seconds = 4, 5
	without, million := newQueueSubject(b), newQueueSubject(b)
	execute(b, million.db, `INSERT INTO river_job (args, kind, queue, max_attempts, priority, state, scheduled_at)
		SELECT jsonb_build_object('id', 'msg_' || n, 'topic', 'work', 'owner', 'owner' || n % 1000, 'attempt', 3, 'payload', jsonb_build_object('n', n),
				'history', jsonb_build_array(jsonb_build_object('at', now(), 'error', 'the gateway answered 503'))),
			'delivery', 'workers', 32767, 2, 'scheduled', now() + interval '1 day' + n * interval '1 ms'
		FROM generate_series(1, 1000000) n`)
	execute(b, million.db, `VACUUM ANALYZE river_job`)
	all := map[string]latencies{}
	for range rounds {
		all["without"] = append(all["without"], measure(b, without, seconds)...)
		all["million"] = append(all["million"], measure(b, million, seconds)...)
	}
	reportLatencies(b, all)
	b.ReportMetric(all["million"].quantile(0.95)-all["without"].quantile(0.95), "p95-more-ms")
}

// BenchmarkHeldTransaction sends messages at a steady rate through the queue and,
// at the same time, through River by itself. A transaction in each database is
// held open after half a minute, so that vacuum can't remove dead rows.
func BenchmarkHeldTransaction(b *testing.B) {
	subjects := []*subject{newQueueSubject(b), newRiverSubject(b)}
	const before, after, every = 30, 60, 30
	var flows sync.WaitGroup
	for _, s := range subjects {
		f := newFlow(s, before+*benchHeld+after)
		stop := s.start(f.received)
		sent := make(chan struct{})
		go func() { f.send(b); close(sent) }()
		flows.Go(func() {
			var release func()
			for second := every; second <= before+*benchHeld+after; second += every {
				time.Sleep(every * time.Second)
				f.sample(b, second)
				switch second {
				case before:
					release = f.hold(b)
				case before + *benchHeld:
					release()
				}
			}
			<-sent
			f.left.Wait()
			stop()
		})
	}
	flows.Wait()
}

// hold opens a transaction with a snapshot.
func (f *flow) hold(b *testing.B) (release func()) {
	conn, err := pgx.ConnectConfig(b.Context(), f.db.Config().ConnConfig)
	if err == nil {
		_, err = conn.Exec(b.Context(), `SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ`)
	}
	if err == nil {
		_, err = conn.Exec(b.Context(), `SELECT count(*) FROM bench_changes`)
	}
	if err != nil {
		b.Error(err)
	}
	return func() { _ = conn.Close(b.Context()) }
}

// sample logs what an operator would see, and the latencies since the last sample.
func (f *flow) sample(b *testing.B, second int) {
	var backlog, dead, megabytes int
	if err := f.db.QueryRow(b.Context(), `SELECT (SELECT count(*) FROM river_job WHERE state = 'available'),
		(SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'river_job'), pg_total_relation_size('river_job') >> 20`).Scan(&backlog, &dead, &megabytes); err != nil {
		b.Error(err)
		return
	}
	l := f.take()
	if len(l) == 0 {
		l = latencies{0}
	}
	b.Logf("%s, %3d s: %4.0f processed/s, backlog %d, dead rows %d, %d MB, p50 %.1f ms, p99 %.1f ms", f.name, second, float64(len(l))/30, backlog, dead, megabytes, l.quantile(0.5), l.quantile(0.99))
}
