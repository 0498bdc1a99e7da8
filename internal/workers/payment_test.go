package workers

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/orders"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit/gatewaytest"
	"ratelimiter/models"
)

// till is a shop with a payment gateway.
type till struct {
	*shop
	gateway *gatewaytest.Gateway
	payment *Payment
	log     *bytes.Buffer // read it when the workers have stopped
}

func newTill(t *testing.T, wrap func(http.Handler) http.Handler) *till {
	t.Helper()
	s := newShop(t)
	s.attempts = 8
	gateway, log := gatewaytest.Start(t, s.db, wrap), &bytes.Buffer{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	client := NewGateway(func() string { return gateway.URL }, logger, func(string, string) {})
	t.Cleanup(func() { _ = client.Stop(t.Context()) })
	return &till{s, gateway, NewPayment(s.orders, client, logger), log}
}

// workAll runs the workers of inventory and payment.
func (s *till) workAll() {
	s.Helper()
	s.work(queue.Handlers{orders.GroupInventory: NewInventory(s.orders).Handlers(), orders.GroupPayment: s.payment.Handlers()})
}

// placeWith places an order of two cups.
func (s *till) placeWith(token string) string {
	s.Helper()
	order, _, err := s.orders.Create(s.Context(), models.NewOrder{
		Owner: "o", Email: "a@example.com", PaymentToken: token, Items: []models.NewItem{{ProductID: cups, Quantity: 2}},
	})
	if err != nil {
		s.Fatal(err)
	}
	return order.ID
}

// settle waits until the workers have nothing to do.
func (s *till) settle() {
	s.Helper()
	for range 2 { // one's last message may have led to one of the other
		s.idle(orders.GroupInventory)
		s.idle(orders.GroupPayment)
	}
}

// want checks how an order ended, and the ledger.
func (s *till) want(name, id string, want models.Progress, kinds ...string) {
	s.Helper()
	if got := s.read(id).Progress; got != want {
		s.Errorf("%s: got %+v; want %+v; events %v, dead letters %v", name, got, want, s.events(id), s.letters(orders.GroupPayment))
	}
	if got := s.gateway.Kinds(id); !slices.Equal(got, kinds) {
		s.Errorf("%s: got ledger %v; want %v", name, got, kinds)
	}
}

// paid is the good end of an order.
var paid = models.Progress{Status: models.OrderConfirmed, Stock: models.StockHeld, Payment: models.PaymentCaptured}

// cancelled returns the end of an order that its caller cancelled.
func cancelled(stock models.StockState, payment models.PaymentState) models.Progress {
	return models.Progress{Status: models.OrderCancelled, Reason: models.ReasonByCaller, Stock: stock, Payment: payment}
}

func TestPayment_tokens(t *testing.T) {
	s := newTill(t, nil)
	s.workAll()
	placed := map[string]string{}
	for _, token := range []string{"tok_ok", "tok_declined", "tok_flaky", "tok_slow", "tok_down", "tok_hunter2"} {
		placed[token] = s.placeWith(token)
	}
	s.settle()
	for _, token := range []string{"tok_ok", "tok_flaky", "tok_slow"} {
		s.want(token, placed[token], paid, "authorization", "capture")
	}
	for _, token := range []string{"tok_declined", "tok_hunter2"} {
		p := s.read(placed[token]).Progress
		if p.Status != models.OrderCancelled || p.Payment != models.PaymentDeclined || p.Stock == models.StockHeld {
			s.Errorf("%s: got %+v", token, p)
		}
	}
	pending := models.Progress{Status: models.OrderPending, Stock: models.StockHeld, Payment: models.PaymentNone}
	s.want("tok_down", placed["tok_down"], pending)
	letters := s.letters(orders.GroupPayment)
	if len(letters) != 1 || letters[0].Attempts != 8 || !strings.Contains(letters[0].Reason, "answered 500") || letters[0].Message.Key != placed["tok_down"] {
		t.Fatalf("got dead letters %+v", letters)
	}
	s.gateway.Post("/recover", nil).Want(http.StatusOK)
	err := postgres.InTx(t.Context(), s.db, func(tx pgx.Tx) error {
		_, err := s.queue.Redrive(t.Context(), tx, letters[0].ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.await("the redriven order ends", func() bool { return s.read(placed["tok_down"]).Status != models.OrderPending })
	s.want("tok_down", placed["tok_down"], paid, "authorization", "capture")
	if got := s.stock(); got != 1000-4*2 {
		t.Errorf("got stock %d; want that of four orders taken", got)
	}
	if log := s.log.String(); !strings.Contains(log, "order="+placed["tok_flaky"]+" attempt=3 outcome=authorized") || strings.Contains(log, "tok_") {
		t.Errorf("got log %s", log)
	}
}

// lossy handles the first request of each kind, but its response is lost.
func lossy(handler http.Handler) http.Handler {
	var seen sync.Map
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key := r.Header.Get("Idempotency-Key"); key != "" {
			if _, again := seen.LoadOrStore(key, true); !again {
				handler.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
		}
		handler.ServeHTTP(w, r)
	})
}

// The gateway is killed between its commit and its response, each time.
func TestPayment_lost_responses(t *testing.T) {
	s := newTill(t, lossy)
	s.workAll()
	id := s.place(1)
	out := s.place(5000) // more than there is
	s.settle()
	s.want("ordered", id, paid, "authorization", "capture")
	if kinds := s.gateway.Kinds(out); len(kinds) == 1 || s.read(out).Progress.NeedsVoid() && len(kinds) > 0 {
		t.Errorf("out of stock: got %+v, ledger %v", s.read(out).Progress, kinds)
	}
	if letters := s.letters(orders.GroupPayment); len(letters) != 0 {
		t.Errorf("got dead letters %+v", letters)
	}
}

// handle runs a handler and its effect.
func (s *till) handle(handler queue.Handler, id string, attempt int) {
	s.Helper()
	effect, err := handler(s.Context(), message(id, attempt))
	if err == nil && effect != nil {
		err = postgres.InTx(s.Context(), s.db, func(tx pgx.Tx) error { return effect(s.Context(), tx) })
	}
	if err != nil {
		s.Error(err)
	}
}

// message is a message about an order.
func message(id string, attempt int) *queue.Message {
	return &queue.Message{Topic: "t", Payload: fmt.Appendf(nil, `{"order_id":%q}`, id), Attempt: attempt}
}

// before calls fn before each request for a path.
func before(path string, fn func()) func(http.Handler) http.Handler {
	return func(handler http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, path) {
				fn()
			}
			handler.ServeHTTP(w, r)
		})
	}
}

// cancel cancels an order as its caller does, and reports whether it is cancelled.
func (s *till) cancel(id string) bool {
	s.Helper()
	work, err := s.orders.Step(s.Context(), id, models.Progress.CancelledByCaller)
	if err != nil {
		s.Error(err)
	}
	return work.Progress.Status == models.OrderCancelled
}

// Whichever of a cancel and a payment step wins, order and ledger agree.
func TestPayment_cancel(t *testing.T) {
	t.Run("before the capture", func(t *testing.T) {
		s := newTill(t, nil)
		id := s.placeWith("tok_ok")
		s.handle(s.payment.authorize, id, 1)
		s.apply(id, models.Progress.StockReserved)
		if !s.cancel(id) {
			t.Error("got no cancel")
		}
		s.handle(s.payment.capture, id, 1)
		s.handle(s.payment.void, id, 1)
		s.want(t.Name(), id, cancelled(models.StockHeld, models.PaymentVoided), "authorization", "void")
	})
	t.Run("during the capture", func(t *testing.T) {
		var s *till
		var id string
		s = newTill(t, before("/captures", func() {
			if s.cancel(id) {
				t.Error("cancelled while it is captured")
			}
		}))
		id = s.placeWith("tok_ok")
		s.handle(s.payment.authorize, id, 1)
		s.apply(id, models.Progress.StockReserved)
		s.handle(s.payment.capture, id, 1)
		s.handle(s.payment.void, id, 1)
		s.want(t.Name(), id, paid, "authorization", "capture")
	})
	t.Run("and void, before a late authorization", func(t *testing.T) {
		var s *till
		var id string
		s = newTill(t, before("/authorizations", func() { s.cancel(id); s.handle(s.payment.void, id, 1) }))
		id = s.placeWith("tok_ok")
		s.handle(s.payment.authorize, id, 1)
		s.want(t.Name(), id, cancelled(models.StockNone, models.PaymentNone))
	})
	t.Run("and void, before the authorization is stored", func(t *testing.T) {
		s := newTill(t, nil)
		id := s.placeWith("tok_ok")
		m := &queue.Message{Topic: "t", Payload: fmt.Appendf(nil, `{"order_id":%q}`, id), Attempt: 1}
		effect, err := s.payment.authorize(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		s.cancel(id)
		s.handle(s.payment.void, id, 1)
		if err := postgres.InTx(t.Context(), s.db, func(tx pgx.Tx) error { return effect(t.Context(), tx) }); err != nil {
			t.Fatal(err)
		}
		s.want(t.Name(), id, cancelled(models.StockNone, models.PaymentVoided), "authorization", "void")
	})
	t.Run("races the workers", func(t *testing.T) {
		s := newTill(t, nil)
		var cancels sync.WaitGroup
		handlers := s.payment.Handlers()
		for _, topic := range []models.EventType{models.EventStockReserved, models.EventPaymentAuthorized} {
			handlers[string(topic)] = func(ctx context.Context, m *queue.Message) (queue.Effect, error) {
				if s.read(m.Key).Progress.NeedsCapture() {
					cancels.Go(func() { s.cancel(m.Key) })
				}
				return s.payment.capture(ctx, m)
			}
		}
		s.work(queue.Handlers{orders.GroupInventory: NewInventory(s.orders).Handlers(), orders.GroupPayment: handlers})
		var ids []string
		for range 40 {
			ids = append(ids, s.placeWith("tok_ok"))
		}
		s.settle()
		cancels.Wait()
		s.settle()
		confirmed := int64(0)
		for _, id := range ids {
			switch p := s.read(id).Progress; {
			case p.Status == models.OrderConfirmed:
				confirmed++
				s.want("confirmed", id, paid, "authorization", "capture")
			case p.Payment == models.PaymentVoided:
				s.want("voided", id, cancelled(p.Stock, models.PaymentVoided), "authorization", "void")
			default:
				s.want("never authorized", id, cancelled(p.Stock, models.PaymentNone))
			}
		}
		if got := s.stock(); got != 1000-2*confirmed {
			t.Errorf("got stock %d with %d confirmed orders", got, confirmed)
		}
		t.Logf("%d of 40 confirmed", confirmed)
	})
}

// A payment that was voided at the gateway isn't captured, and the order is cancelled.
func TestPayment_capture_refused(t *testing.T) {
	s := newTill(t, nil)
	id := s.placeWith("tok_ok")
	s.handle(s.payment.authorize, id, 1)
	s.apply(id, models.Progress.StockReserved)
	s.gateway.Post("/voids", map[string]string{"order_id": id}, "Idempotency-Key", "operator").Want(http.StatusCreated)
	s.handle(s.payment.capture, id, 1)
	p := s.read(id).Progress
	if p.Status != models.OrderCancelled || p.Reason != models.ReasonPaymentDeclined {
		t.Errorf("got %+v", p)
	}
	s.handle(s.payment.void, id, 1) // there is nothing to void, and the order knows it
	if p := s.read(id).Progress; p.Payment != models.PaymentVoided {
		t.Errorf("got %+v after the void; want it voided, or it is resumed for ever", p)
	}
}

// Recovering heals an order whose payment waits.
func TestPayment_recover(t *testing.T) {
	s := newTill(t, nil)
	id := s.placeWith("tok_down")
	s.gateway.Post("/recover", nil).Want(http.StatusOK)
	later := s.placeWith("tok_down")
	s.handle(s.payment.authorize, id, 1)
	if p := s.read(id).Progress; p.Payment != models.PaymentAuthorized {
		t.Errorf("got %+v; want it authorized", p)
	}
	if _, err := s.payment.authorize(t.Context(), message(later, 1)); err == nil {
		t.Error("a later order was authorized")
	}
}

// A payment that was captured for a cancelled order, which needs an error of a person,
// is a dead letter at once.
func TestPayment_void_refused(t *testing.T) {
	s := newTill(t, nil)
	id := s.placeWith("tok_ok")
	s.handle(s.payment.authorize, id, 1)
	s.gateway.Post("/captures", map[string]string{"authorization_id": s.read(id).Authorization}, "Idempotency-Key", "operator").Want(http.StatusCreated)
	s.cancel(id)
	s.work(queue.Handlers{orders.GroupPayment: s.payment.Handlers()})
	s.await("a dead letter", func() bool { return len(s.letters(orders.GroupPayment)) == 1 })
	if l := s.letters(orders.GroupPayment)[0]; l.Attempts != 1 || !strings.Contains(l.Reason, "refund it") {
		t.Errorf("got %+v", l)
	}
}

// A redelivery asks the gateway before it repeats a call.
func TestPayment_redelivery_asks_first(t *testing.T) {
	var s *till
	posts := 0
	s = newTill(t, before("s", func() { posts++ })) // all paths
	id := s.placeWith("tok_ok")
	s.gateway.Post("/authorizations", map[string]any{"order_id": id, "amount": 2, "currency": "EUR", "payment_token": "tok_ok"}, "Idempotency-Key", "forgotten").Want(http.StatusCreated)
	s.handle(s.payment.authorize, id, 2)
	s.apply(id, models.Progress.StockReserved)
	s.gateway.Post("/captures", map[string]string{"authorization_id": s.read(id).Authorization}, "Idempotency-Key", "forgotten-too").Want(http.StatusCreated)
	s.handle(s.payment.capture, id, 2)
	s.want("redelivered", id, paid, "authorization", "capture")
	if posts != 2 {
		t.Errorf("got %d requests besides those of the test", posts-2)
	}
}

// While the breaker is open, messages wait and use up no attempt.
func TestPayment_breaker(t *testing.T) {
	s := newTill(t, nil)
	s.payment.gateway.client.Transport = transport(func(*http.Request) (*http.Response, error) { return nil, http.ErrServerClosed })
	for range breakerCalls {
		_, _ = s.payment.gateway.Find(t.Context(), "o")
	}
	id := s.placeWith("tok_ok")
	s.work(queue.Handlers{orders.GroupPayment: s.payment.Handlers()})
	const delayed = `SELECT count(*) FROM river_job WHERE queue = 'payment' AND args ->> 'key' = $1 AND (args ->> 'attempt')::int = 0 AND state = 'scheduled' AND scheduled_at > now() + interval '1 second'`
	s.await("the message is postponed", func() bool { return column[int64](s.shop, delayed, id)[0] == 1 })

	held := s.placeWith("tok_ok")
	s.apply(held, models.Progress.StockReserved, models.Progress.PaymentAuthorized)
	if _, err := s.payment.capture(t.Context(), message(held, 1)); err == nil {
		t.Error("captured without a gateway")
	}
	if !s.cancel(held) {
		t.Error("an order whose capture is suspended can't be cancelled")
	}
}
