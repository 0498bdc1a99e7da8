package orderproof

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/catalog"
	"ratelimiter/internal/events"
	"ratelimiter/internal/orders"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/workers"
	"ratelimiter/models"
)

// The broken variants.
const (
	captureBeforeStock      = "capture before stock"
	voidForgotten           = "void forgotten"
	timeoutIsFailure        = "time-out taken as failure"
	releaseTwice            = "release twice"
	eventOutsideTransaction = "event outside the transaction"
)

var faults = []string{captureBeforeStock, voidForgotten, timeoutIsFailure, releaseTwice, eventOutsideTransaction}

// catch places orders with a broken variant until the proof finds its fault.
func catch(t *testing.T, s *shop, rng *rand.Rand, fault string) {
	for round := range 5 {
		s.reopen(t, servers{names: []string{server1}, fault: fault, settings: twoServers.settings})
		p := newProof(s, rng, 50)
		for i := range p.todo {
			switch {
			case i%10 == 0:
				p.todo[i].Token = "tok_slow"
			case p.todo[i].Token == "tok_down":
				p.todo[i].Token = "tok_ok"
			}
		}
		p.run(rng, 0)
		s.settle(true)
		if list := s.observe(p.acknowledged, p.initial).faults(); len(list) > 0 {
			t.Logf("caught in round %d: %s", round+1, summary(list))
			return
		}
	}
	t.Error("not caught")
}

// broken has handlers with faults.
type broken struct {
	db      *pgxpool.Pool
	queue   *queue.Queue
	orders  *orders.Store
	gateway *workers.Gateway
	payment map[string]queue.Handler // the product's
}

// brokenHandlers returns the handlers of the groups payment and inventory with the
// fault of a broken variant.
func brokenHandlers(db *pgxpool.Pool, fault string) (queue.Handlers, error) {
	log := slog.New(slog.DiscardHandler)
	q, err := queue.New(db, orders.Routes, log)
	if err != nil {
		return nil, err
	}
	b := &broken{db: db, queue: q, orders: orders.NewStore(db, q, nil)}
	b.gateway = workers.NewGateway(func() string { return os.Getenv("PAYMENT_URL") }, log, func(string, string) {})
	b.payment = workers.NewPayment(b.orders, b.gateway, log).Handlers()
	payment, inventory := maps.Clone(b.payment), workers.NewInventory(b.orders).Handlers()
	placed, rejected, declined, cancelled := string(models.EventOrderPlaced), string(models.EventStockRejected), string(models.EventPaymentDeclined), string(models.EventOrderCancelled)
	nothing := func(context.Context, *queue.Message) (queue.Effect, error) { return nil, nil }
	switch fault {
	case captureBeforeStock:
		payment[placed] = b.captureAtOnce
	case voidForgotten:
		payment[rejected], payment[cancelled] = nothing, nothing
	case timeoutIsFailure:
		payment[placed] = b.authorizeOnce
	case releaseTwice:
		inventory[declined], inventory[cancelled] = b.release, b.release
	case eventOutsideTransaction:
		inventory[placed] = b.reserve
	default:
		return nil, errors.New("unknown fault: " + fault)
	}
	return queue.Handlers{orders.GroupPayment: payment, orders.GroupInventory: inventory}, nil
}

// captureAtOnce captures right after the authorization.
func (b *broken) captureAtOnce(ctx context.Context, m *queue.Message) (queue.Effect, error) {
	effect, err := b.payment[m.Topic](ctx, m)
	if err != nil {
		return nil, err
	}
	id, err := orders.OrderOf(m)
	if err != nil {
		return nil, err
	}
	a, err := b.gateway.Find(ctx, id)
	if err == nil && a.Status == workers.AuthorizationHeld {
		_, err = b.gateway.Capture(ctx, id, a.ID)
	}
	if errors.Is(err, workers.ErrNoAuthorization) {
		err = nil
	}
	return effect, err
}

// authorizeOnce takes a call without an answer for a declined payment.
func (b *broken) authorizeOnce(ctx context.Context, m *queue.Message) (queue.Effect, error) {
	id, err := orders.OrderOf(m)
	if err != nil {
		return nil, err
	}
	order, err := b.orders.Read(ctx, id)
	if err != nil || !order.Progress.NeedsAuthorization() {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	body, _ := json.Marshal(map[string]any{
		"order_id": id, "amount": order.Total.Amount, "currency": order.Total.Currency, "payment_token": order.PaymentToken,
	})
	request, err := http.NewRequestWithContext(limited, http.MethodPost, os.Getenv("PAYMENT_URL")+"/authorizations", strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", id+":authorize")
	step, authorization := models.Progress.PaymentDeclined, workers.Authorization{}
	if response, err := http.DefaultClient.Do(request); err == nil {
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode >= http.StatusInternalServerError {
			return nil, errors.New(response.Status)
		}
		content, err := io.ReadAll(response.Body)
		if err == nil && json.Unmarshal(content, &authorization) == nil && authorization.Status == workers.AuthorizationHeld {
			step = models.Progress.PaymentAuthorized
		}
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		order, err := b.orders.Lock(ctx, tx, id)
		if err != nil {
			return err
		}
		order.Authorization = authorization.ID
		return order.Apply(ctx, step, models.EventData{})
	}, nil
}

// release gives the stock back also when it was given back before.
func (b *broken) release(_ context.Context, m *queue.Message) (queue.Effect, error) {
	id, err := orders.OrderOf(m)
	return func(ctx context.Context, tx pgx.Tx) error {
		order, err := b.orders.Lock(ctx, tx, id)
		if err != nil || order.Progress.Stock != models.StockHeld && order.Progress.Stock != models.StockReleased {
			return err
		}
		if err := order.Apply(ctx, models.Progress.StockReleased, models.EventData{}); err != nil {
			return err
		}
		return catalog.Release(ctx, tx, order.Items)
	}, err
}

// reserve commits the event before the change.
func (b *broken) reserve(ctx context.Context, m *queue.Message) (queue.Effect, error) {
	id, err := orders.OrderOf(m)
	if err != nil {
		return nil, err
	}
	enough := false
	err = postgres.InTx(ctx, b.db, func(tx pgx.Tx) error {
		order, err := b.orders.Lock(ctx, tx, id)
		if err != nil || !order.Progress.NeedsStock() {
			return err
		}
		if enough, err = catalog.Available(ctx, tx, order.Items); err != nil || !enough {
			return err
		}
		batch := &pgx.Batch{}
		events.Append(batch, id, order.Owner, events.New{Type: models.EventStockReserved})
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // the moment in which a kill or a cancellation may come
	return func(ctx context.Context, tx pgx.Tx) error {
		order, err := b.orders.Lock(ctx, tx, id)
		if err != nil || !order.Progress.NeedsStock() {
			return err
		}
		if !enough {
			return order.Apply(ctx, models.Progress.StockRejected, models.EventData{})
		}
		if _, err := tx.Exec(ctx, `UPDATE orders SET stock = 'held' WHERE id = $1`, id); err != nil {
			return err
		}
		content, _ := json.Marshal(map[string]string{"order_id": id})
		err = b.queue.Publish(ctx, tx, &queue.Message{Topic: string(models.EventStockReserved), Key: id, Owner: order.Owner, Version: m.Version, Payload: content})
		if err != nil {
			return err
		}
		held, err := catalog.Hold(ctx, tx, order.Items)
		if err == nil && !held {
			err = errors.New("the stock was taken by another order")
		}
		return err
	}, nil
}
