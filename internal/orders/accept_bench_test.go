package orders

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/migrations"
	"ratelimiter/models"
)

// BenchmarkAccept compares orders with messages and an event to those of the
// release before, which had neither: orders accepted per second, in turns, each on
// a Postgres of its own on disk with fsync and synchronous_commit on. An order has
// three items and a new idempotency key.
func BenchmarkAccept(b *testing.B) {
	const rounds, orders = 25, 300 // short turns, because other work on the machine comes and goes
	now, before := durable(b), durable(b)
	q, err := queue.New(now, Routes, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	std := stdlib.OpenDBFromPool(before)
	provider, err := goose.NewProvider(goose.DialectPostgres, std, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err == nil {
		_, err = provider.DownTo(b.Context(), 72)
	}
	if err != nil {
		b.Fatal(err)
	}
	_ = std.Close()
	s := NewStore(now, q)
	type subject struct {
		name  string
		place func(context.Context, models.NewOrder) error
	}
	subjects := []subject{
		{"now", func(ctx context.Context, spec models.NewOrder) error {
			_, _, err := s.Create(ctx, spec)
			return err
		}},
		{"before", func(ctx context.Context, spec models.NewOrder) error { return placeBefore(ctx, before, spec) }},
	}
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprint(clients, "_clients"), func(b *testing.B) {
			rates := map[string][]float64{}
			for round := range rounds + 1 {
				for _, subject := range subjects {
					rate := accept(b, clients, orders, subject.place)
					if round > 0 { // the first warms up
						rates[subject.name] = append(rates[subject.name], rate)
					}
				}
				slices.Reverse(subjects)
			}
			ratios := make([]float64, rounds)
			for i := range ratios {
				ratios[i] = rates["now"][i] / rates["before"][i]
			}
			for name, rate := range rates {
				b.ReportMetric(median(rate), name+"/s")
			}
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

var keys atomic.Int64 // of all orders

// accept places orders and returns how many were accepted per second.
func accept(b *testing.B, clients, orders int, place func(context.Context, models.NewOrder) error) float64 {
	var placing sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(orders))
	began := time.Now()
	for range clients {
		placing.Go(func() {
			for left.Add(-1) >= 0 {
				n := keys.Add(1)
				item := models.NewItem{ProductID: "prd_0y5apuf8zs", Quantity: 1}
				err := place(b.Context(), models.NewOrder{
					Owner: fmt.Sprint("own_", n%1000), Email: "a@example.com", PaymentToken: "tok_ok",
					Items: []models.NewItem{item, item, item}, IdempotencyKey: strconv.FormatInt(n, 10),
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	placing.Wait()
	return float64(orders) / time.Since(began).Seconds()
}

// durable returns a new Postgres on disk.
func durable(b *testing.B) *pgxpool.Pool {
	b.Helper()
	url, err := os.ReadFile(testkit.NewDurableCluster(b).AddressFile)
	if err != nil {
		b.Fatal(err)
	}
	db, err := postgres.Open(b.Context(), string(url))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	return db
}

// placeBefore is Store.Create of the release before messages and events.
func placeBefore(ctx context.Context, db *pgxpool.Pool, spec models.NewOrder) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	return postgres.InTx(ctx, db, func(tx pgx.Tx) error {
		hash, err := hashOf(spec)
		if err != nil {
			return err
		}
		p := placement{spec: spec}
		records := &pgx.Batch{}
		p.readRecord(records)
		if err := tx.SendBatch(ctx, records).Close(); err != nil {
			return err
		}
		ids := make([]string, len(spec.Items))
		for i, item := range spec.Items {
			ids[i] = item.ProductID
		}
		rows, err := tx.Query(ctx, `SELECT id, sku, name, price_amount, price_currency FROM products WHERE id = ANY ($1)`, ids)
		if err != nil {
			return err
		}
		articles := map[string]article{}
		var id string
		var a article
		_, err = pgx.ForEachRow(rows, []any{&id, &a.sku, &a.name, &a.price.Amount, &a.price.Currency}, func() error {
			articles[id] = a
			return nil
		})
		if err != nil {
			return err
		}
		items, sum, err := total(spec.Items, articles)
		if err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			INSERT INTO orders AS o (id, owner, email, payment_token, total_amount, total_currency)
			VALUES ($1, $2, $3, $4, $5, $6)
			RETURNING o.id, o.owner, o.status, o.reason, o.email, o.total_amount, o.total_currency, o.created_at, o.updated_at, $7::integer`,
			newOrderID(), spec.Owner, spec.Email, spec.PaymentToken, sum.Amount, sum.Currency, len(items))
		if err != nil {
			return err
		}
		order, err := pgx.CollectExactlyOneRow(rows, scanOrder)
		if err != nil {
			return err
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"order_items"},
			[]string{"order_id", "position", "product_id", "sku", "name", "quantity", "unit_amount", "currency"},
			pgx.CopyFromSlice(len(items), func(i int) ([]any, error) {
				item := items[i]
				return []any{order.ID, i, item.ProductID, item.SKU, item.Name, item.Quantity, item.UnitPrice.Amount, item.UnitPrice.Currency}, nil
			}))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO idempotency_keys (owner, key, body_hash, order_id, refusal, request_id) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (owner, key) DO UPDATE SET body_hash = excluded.body_hash, order_id = excluded.order_id,
				refusal = excluded.refusal, request_id = excluded.request_id, created_at = excluded.created_at`,
			spec.Owner, spec.IdempotencyKey, hash[:sha256.Size], order.ID, (*storedFaults)(nil), "")
		return err
	})
}
