package orders

import (
	"testing"
)

// BenchmarkStore_Sweep measures a sweep of 100,000 pending orders, most of which
// wait in 300,000 jobs, while the statistics don't know of them.
func BenchmarkStore_Sweep(b *testing.B) {
	s, db := newStore(b)
	exec := func(sql string) {
		b.Helper()
		if _, err := db.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	exec(`ALTER TABLE river_job SET (autovacuum_enabled = off); ALTER TABLE orders SET (autovacuum_enabled = off)`)
	exec(`INSERT INTO orders (id, owner, email, payment_token, total_amount, total_currency, created_at, updated_at)
		SELECT 'ord_' || n, 'o' || n % 1000, 'a@example.com', 'tok_ok', 1, 'EUR', now() - interval '1 hour', now() - interval '1 hour' FROM generate_series(1, 100000) n`)
	exec(`ALTER TABLE river_job DISABLE TRIGGER queue_priority`)
	exec(`INSERT INTO river_job (state, queue, kind, args, max_attempts, priority, scheduled_at)
		SELECT 'available', 'payment', 'delivery', jsonb_build_object('id', 'msg_' || n, 'topic', 'order.placed', 'key', 'ord_' || n % 99900, 'owner', 'o',
			'payload', jsonb_build_object('order_id', 'ord_' || n % 99900)), 32767, 2, now() FROM generate_series(1, 300000) n`)
	exec(`ALTER TABLE river_job ENABLE TRIGGER queue_priority`)
	for b.Loop() {
		n, err := s.Sweep(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n), "orders")
	}
}
