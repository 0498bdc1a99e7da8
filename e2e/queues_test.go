package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/handlers"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// workload is messages of one topic to two groups. The handler of payment fails
// permanently while it is broken.
type workload struct {
	*testApp
	queue       *queue.Queue
	broken      atomic.Bool
	paid, sent  atomic.Int64
	atAttempt   atomic.Int64 // of the last payment
	withHistory atomic.Int64 // failures that came with it
}

var workloadRoutes = queue.Routes{"order.placed": {"payment", "email"}}

// newWorkload returns a server that works on the workload.
func newWorkload(t *testing.T, options ...appOption) *workload {
	t.Helper()
	w := &workload{}
	payment := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		if w.broken.Load() {
			return nil, queue.Permanent(errors.New("Gateway refused tok_declined of ann@example.com"))
		}
		w.atAttempt.Store(int64(m.Attempt))
		w.withHistory.Store(int64(len(m.History)))
		w.paid.Add(1)
		return nil, nil
	}
	email := func(context.Context, *queue.Message) (queue.Effect, error) { w.sent.Add(1); return nil, nil }
	w.testApp = newApp(t, append(options, watching(), func(o *appOptions) {
		o.config.RetryBase, o.config.RetryCap, o.config.RetryAttempts = time.Millisecond, time.Millisecond, 2
		o.Routes, o.Handlers = workloadRoutes, queue.Handlers{"payment": {"order.placed": payment}, "email": {"order.placed": email}}
	})...)
	var err error
	if w.queue, err = queue.New(w.db, workloadRoutes, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return w
}

const placedPayload = `{"order_id":"ord_7","email":"ann@example.com","payment_token":"pm_1234","items":[{"note":"ask bob@example.org","token":5}],"total":12345678901234567890}`

// publish publishes a message.
func (w *workload) publish() {
	w.t.Helper()
	err := postgres.InTx(w.t.Context(), w.db, func(tx pgx.Tx) error {
		return w.queue.Publish(w.t.Context(), tx, &queue.Message{Topic: "order.placed", Payload: json.RawMessage(placedPayload)})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// deadLetters inserts dead letters of the group payment.
func (a *testApp) deadLetters(n int, topic, reason string) {
	a.t.Helper()
	message := fmt.Sprintf(`{"id":"m","topic":%q,"payload":%s,"attempt":8,"history":[{"at":"2026-01-15T09:30:00Z","error":%q}]}`, topic, placedPayload, reason)
	a.exec(`INSERT INTO dead_letters ("group", topic, message, reason, attempts)
		SELECT 'payment', $1, jsonb_set($2::jsonb, '{id}', to_jsonb('m' || i)), $3, 8 FROM generate_series(1, $4) i`, topic, message, reason, n)
}

// newestDeadLetter returns the id of the dead letter that was inserted last.
func (a *testApp) newestDeadLetter() (id string) {
	a.t.Helper()
	if err := a.db.QueryRow(a.t.Context(), `SELECT max(id)::text FROM dead_letters`).Scan(&id); err != nil {
		a.t.Fatal(err)
	}
	return id
}

// letters returns the dead letters that match a query.
func letters(admin *testkit.Client, query string) []models.DeadLetter {
	var list handlers.List[models.DeadLetter]
	admin.Get("/v1/admin/dead-letters" + query).Want(http.StatusOK).JSON(&list)
	return list.Data
}

// redriven returns how many dead letters a request redrives.
func redriven(admin *testkit.Client, body string) int64 {
	var result handlers.Redriven
	admin.Post("/v1/admin/dead-letters/redrive", body).Want(http.StatusAccepted).JSON(&result)
	return result.Redriven
}

func TestDeadLetters_redrive_after_repair(t *testing.T) {
	w := newWorkload(t)
	admin := w.admin(models.ScopeAdminQueues)
	w.broken.Store(true)
	w.publish()
	w.await("the message is set aside", func() bool { return len(letters(admin, "?group=payment")) == 1 && w.sent.Load() == 1 })
	d := letters(admin, "")[0]
	const masked = `{"email":"***","items":[{"note":"ask ***","token":"***"}],"order_id":"ord_7","payment_token":"***","total":12345678901234567890}`
	if string(d.Payload) != masked || d.Topic != "order.placed" || d.Group != "payment" || d.Attempts != 1 || time.Since(d.DeadAt) > time.Minute ||
		d.Reason != "Gateway refused tok_*** of ***" || len(d.History) != 1 || d.History[0].Error != d.Reason {
		t.Errorf("got dead letter %+v with payload %s", d, d.Payload)
	}

	admin.Post("/v1/admin/dead-letters/"+d.ID+"/redrive", nil).Want(http.StatusAccepted)
	w.await("it fails again", func() bool { l := letters(admin, ""); return len(l) == 1 && l[0].ID != d.ID })
	if again := letters(admin, "")[0]; again.Attempts != 1 || len(again.History) != 2 {
		t.Errorf("got %+v; want attempts reset and the history kept", again)
	}
	admin.Post("/v1/admin/dead-letters/"+d.ID+"/redrive", nil).Want(http.StatusNotFound)
	w.broken.Store(false)
	if n := redriven(admin, `{"dry_run":false}`); n != 1 {
		t.Errorf("redrove %d; want 1", n)
	}
	w.await("it is paid", func() bool { return w.paid.Load() == 1 })
	if w.atAttempt.Load() != 1 || w.withHistory.Load() != 2 || len(letters(admin, "")) != 0 {
		t.Errorf("got attempt %d with %d failures; want 1 with 2", w.atAttempt.Load(), w.withHistory.Load())
	}
	w.wantMetrics(map[string]string{
		`ratelimiter_queue_deliveries_total{group="payment",result="dead"}`: "2",
		`ratelimiter_queue_deliveries_total{group="payment",result="done"}`: "1",
		`ratelimiter_queue_deliveries_total{group="email",result="done"}`:   "1",
	})
	entries := w.audited("?action=dead_letter.redrive")
	if len(entries) != 2 || entries[1].Target != d.ID || !strings.Contains(string(entries[1].Before), "ord_7") || strings.Contains(string(entries[1].Before), "example.com") ||
		entries[0].Target != "all" || !strings.Contains(string(entries[0].After), `"redriven":1`) {
		t.Errorf("got audit entries %+v", entries)
	}
}

func TestDeadLetters_filters(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminQueues)
	app.deadLetters(25, "order.placed", "Gateway TIMEOUT")
	app.deadLetters(3, "order.cancelled", "declined")
	app.exec(`INSERT INTO dead_letters ("group", topic, message, reason, attempts) VALUES ('email', '', '"to ann@example.com"', 'decode the message', 1)`)
	for query, want := range map[string]int{
		"?limit=100": 29, "": 20, "?group=email": 1, "?group=payment&topic=order.cancelled": 3, "?reason=timeout&limit=100": 25, "?reason=100%25": 0, "?topic=none": 0,
	} {
		if got := len(letters(admin, query)); got != want {
			t.Errorf("%s: got %d dead letters; want %d", query, got, want)
		}
	}
	newest := letters(admin, "")[0]
	if newest.Group != "email" || newest.Topic != "" || string(newest.Payload) != `{"value":"to ***"}` || newest.History == nil {
		t.Errorf("got newest %+v with payload %s", newest, newest.Payload)
	}
	all := everyPage[models.DeadLetter](t, admin, "/v1/admin/dead-letters")
	seen := map[string]bool{}
	for _, d := range all {
		seen[d.ID] = true
	}
	if len(all) != 29 || len(seen) != 29 {
		t.Errorf("got %d dead letters on all pages, %d different; want 29", len(all), len(seen))
	}
	admin.Get("/v1/admin/dead-letters?grop=email").Want(http.StatusUnprocessableEntity)
	admin.Post("/v1/admin/dead-letters/"+newest.ID+"/redrive", nil).Want(http.StatusConflict)
	for body, want := range map[string]int64{
		`{"dry_run":true}`: 28, `{"group":"email","dry_run":true}`: 0, `{"topic":"order.placed","dry_run":true}`: 25, `{"reason":"DECLINED","dry_run":true}`: 3,
	} {
		if got := redriven(admin, body); got != want {
			t.Errorf("%s: got %d; want %d", body, got, want)
		}
	}
	for _, body := range []string{`{}`, `{"group":""}`, `{"group":null}`, `{"dry_run":"yes"}`, `{"all":true}`, `null`} {
		admin.Post("/v1/admin/dead-letters/redrive", body).Want(http.StatusUnprocessableEntity)
	}
	if n := app.count(`SELECT count(*) FROM dead_letters`); n != 29 {
		t.Errorf("%d dead letters are left; want all 29", n)
	}
	if got := redriven(admin, `{"topic":"order.cancelled"}`); got != 3 || len(letters(admin, "?topic=order.cancelled")) != 0 {
		t.Errorf("redrove %d; want 3", got)
	}
}

// More than the queue puts back in one transaction.
func TestDeadLetters_redrive_many(t *testing.T) {
	app := newApp(t)
	app.deadLetters(2300, "order.placed", "declined")
	if n := redriven(app.admin(models.ScopeAdminQueues), `{"group":"payment","reason":"declined"}`); n != 2300 {
		t.Errorf("redrove %d; want 2300", n)
	}
	if n := app.count(`SELECT count(*) FROM river_job WHERE queue = 'payment' AND state = 'available'`); n != 2300 {
		t.Errorf("%d messages are ready; want 2300", n)
	}
	total := 0
	for _, e := range app.audited("?action=dead_letter.redrive") {
		var after struct{ Redriven int }
		if err := json.Unmarshal(e.After, &after); err != nil {
			t.Fatal(err)
		}
		total += after.Redriven
	}
	if total != 2300 {
		t.Errorf("%d redriven ones are audited; want 2300", total)
	}
}

func TestDeadLetters_discard(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminQueues)
	app.deadLetters(1, "order.placed", "declined")
	id := letters(admin, "")[0].ID
	for _, unknown := range []string{"999999", "x", "99999999999999999999", "%20" + id} {
		admin.Do(http.MethodDelete, "/v1/admin/dead-letters/"+unknown, nil).Want(http.StatusNotFound)
		admin.Post("/v1/admin/dead-letters/"+unknown+"/redrive", nil).Want(http.StatusNotFound)
	}
	admin.Do(http.MethodDelete, "/v1/admin/dead-letters/"+id, nil).Want(http.StatusNoContent)
	admin.Do(http.MethodDelete, "/v1/admin/dead-letters/"+id, nil).Want(http.StatusNotFound)
	entries := app.audited("?target=" + id)
	if len(entries) != 1 || entries[0].Action != "dead_letter.discard" || !strings.Contains(string(entries[0].Before), "ord_7") || string(entries[0].After) != "null" {
		t.Errorf("got audit entries %+v", entries)
	}
}

// What can't be audited doesn't happen.
func TestQueues_audited_in_the_same_transaction(t *testing.T) {
	w := newWorkload(t)
	admin := w.admin(models.ScopeAdminQueues)
	w.deadLetters(2, "order.placed", "declined")
	id := letters(admin, "")[0].ID
	w.exec(`ALTER TABLE audit_log ADD CHECK (action NOT LIKE 'dead_letter.%' AND action NOT LIKE 'queue.%') NOT VALID`)
	for _, path := range []string{"dead-letters/" + id + "/redrive", "queues/payment/pause"} {
		admin.Post("/v1/admin/"+path, nil).Want(http.StatusInternalServerError)
	}
	admin.Post("/v1/admin/dead-letters/redrive", `{"dry_run":false}`).Want(http.StatusInternalServerError)
	admin.Do(http.MethodDelete, "/v1/admin/dead-letters/"+id, nil).Want(http.StatusInternalServerError)
	if n, paused := w.count(`SELECT count(*) FROM dead_letters`), w.count(`SELECT count(*) FROM queue_pauses`); n != 2 || paused != 0 {
		t.Errorf("%d dead letters, %d pauses; want 2 and none", n, paused)
	}
}

func TestQueues_scope(t *testing.T) {
	app := newApp(t)
	app.deadLetters(1, "order.placed", "declined")
	for _, scope := range models.AllScopes() {
		want := http.StatusForbidden
		if scope == models.ScopeAdminQueues || scope == models.ScopeAdmin {
			want = http.StatusOK
		}
		client := app.admin(scope)
		client.Get("/v1/admin/queues").Want(want)
		client.Get("/v1/admin/dead-letters").Want(want)
	}
}

// group returns the state of a group.
func group(admin *testkit.Client, name string) models.QueueGroup {
	var list handlers.QueueGroups
	admin.Get("/v1/admin/queues").Want(http.StatusOK).JSON(&list)
	for _, g := range list.Data {
		if g.Group == name {
			return g
		}
	}
	return models.QueueGroup{}
}

func TestQueues_pause_and_resume(t *testing.T) {
	w := newWorkload(t)
	admin := w.admin(models.ScopeAdminQueues)
	if g := group(admin, "payment"); g != (models.QueueGroup{Group: "payment"}) {
		t.Errorf("got %+v at first", g)
	}
	var shown models.QueueGroup
	for range 2 {
		admin.Post("/v1/admin/queues/payment/pause", nil).Want(http.StatusOK).JSON(&shown)
	}
	w.publish()
	w.await("the other group goes on", func() bool { return w.sent.Load() == 1 })
	w.await("the message is old enough", func() bool { return group(admin, "payment").OldestAge > 0.01 })
	if g := group(admin, "payment"); !shown.Paused || !g.Paused || g.Ready != 1 || w.paid.Load() != 0 {
		t.Errorf("got %+v, paused; %d paid", g, w.paid.Load())
	}
	admin.Post("/v1/admin/queues/payment/resume", nil).Want(http.StatusOK).JSON(&shown)
	w.await("it is paid", func() bool { return w.paid.Load() == 1 })
	if g := group(admin, "payment"); shown.Paused || g.Paused {
		t.Errorf("got %+v after it was resumed", g)
	}
	for _, unknown := range []string{"nobody", "Payment", "periodic"} {
		admin.Post("/v1/admin/queues/"+unknown+"/pause", nil).Want(http.StatusNotFound)
		admin.Post("/v1/admin/queues/"+unknown+"/resume", nil).Want(http.StatusNotFound)
	}
	entries := w.audited("?target=payment")
	if len(entries) != 2 || entries[1].Action != "queue.pause" || entries[0].Action != "queue.resume" || string(entries[1].After) != `{"paused":true}` {
		t.Errorf("got audit entries %+v; want one for each change", entries)
	}
}

// The numbers of the groups are metrics, read at the start and every 15 s.
func TestQueues_metrics(t *testing.T) {
	first := newApp(t)
	first.deadLetters(3, "order.placed", "declined")
	first.exec(`INSERT INTO queue_pauses ("group") VALUES ('email')`)
	second := newWorkload(t, onDatabase(first.db.Config().ConnString()))
	second.wantMetrics(map[string]string{
		`ratelimiter_queue_dead_letters{group="payment"}`: "3", `ratelimiter_queue_dead_letters{group="email"}`: "0",
		`ratelimiter_queue_paused{group="payment"}`: "0", `ratelimiter_queue_paused{group="email"}`: "1",
		`ratelimiter_queue_waiting_messages{group="payment"}`: "0", `ratelimiter_queue_delayed_messages{group="payment"}`: "0",
		`ratelimiter_queue_in_flight_messages{group="payment"}`: "0", `ratelimiter_queue_oldest_message_seconds{group="payment"}`: "0",
	})
}
