package workers

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/catalog"
	"ratelimiter/internal/orders"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// reserveStockFirst is reserve with the lock of the products before the other
// changes.
func reserveStockFirst(ctx context.Context, tx pgx.Tx, order *orders.Locked) error {
	if held, err := catalog.Hold(ctx, tx, order.Items); err != nil || !held {
		return err
	}
	return order.Apply(ctx, models.Progress.StockReserved, models.EventData{})
}

// BenchmarkReserve compares the two orders of locking on one product, in turns, on a
// Postgres with fsync: transactions per second of 10 workers.
func BenchmarkReserve(b *testing.B) {
	const rounds, perRound, workers = 12, 100, 10
	db, err := testkit.OpenAddressFile(testkit.NewDurableCluster(b).AddressFile)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	q, err := queue.New(db, orders.Routes, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	store := orders.NewStore(db, q)
	if _, err := db.Exec(b.Context(), `UPDATE products SET stock = 1000000`); err != nil {
		b.Fatal(err)
	}
	measure := func(reserve func(context.Context, pgx.Tx, *orders.Locked) error) time.Duration {
		ids := make(chan string, perRound)
		for range perRound {
			order, _, err := store.Create(b.Context(), models.NewOrder{Owner: "o", Email: "a@example.com", PaymentToken: "t", Items: []models.NewItem{{ProductID: cups, Quantity: 1}}})
			if err != nil {
				b.Fatal(err)
			}
			ids <- order.ID
		}
		close(ids)
		began := time.Now()
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				for id := range ids {
					err := postgres.InTx(b.Context(), db, func(tx pgx.Tx) error {
						order, err := store.Lock(b.Context(), tx, id)
						if err != nil {
							return err
						}
						return reserve(b.Context(), tx, order)
					})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		return time.Since(began)
	}
	for b.Loop() {
		var last, first time.Duration
		for range rounds {
			last += measure(reserve)
			first += measure(reserveStockFirst)
		}
		b.ReportMetric(rounds*perRound/last.Seconds(), "last/s")
		b.ReportMetric(rounds*perRound/first.Seconds(), "first/s")
		b.ReportMetric(first.Seconds()/last.Seconds(), "last÷first")
	}
}
