package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/config"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// orderShop is a server in dev mode whose workers process orders.
type orderShop struct {
	*testApp
	dir    string // DATA_DIR
	caller *testkit.Client
	ops    *testkit.Client
	sold   int64 // cups
}

func newOrderShop(t *testing.T, options ...appOption) *orderShop {
	t.Helper()
	s := &orderShop{dir: t.TempDir()}
	s.testApp = newApp(t, append([]appOption{watching(), working(), onWallClock(), func(o *appOptions) {
		o.Dev, o.config.DataDir, o.config.PaymentURL = true, s.dir, ""
		o.config.RetryBase, o.config.RetryCap, o.config.RetryAttempts = 10*time.Millisecond, 10*time.Millisecond, 4
	}}, options...)...)
	s.caller = s.testApp.caller("internal", models.ScopeOrdersRead, models.ScopeOrdersWrite, models.ScopeProductsRead)
	s.ops = testkit.NewClient(t, "http://"+s.app.OpsAddr().String()).Undescribed("the payment gateway of dev mode is not the API")
	return s
}

// place places an order of two cups.
func (s *orderShop) place(token string) models.Order {
	s.t.Helper()
	var order models.Order
	body := fmt.Sprintf(`{"items":[{"product_id":%q,"quantity":2}],"email":"a@example.com","payment_token":%q}`, cups, token)
	s.caller.Post("/v1/orders", body).Want(http.StatusCreated).JSON(&order)
	return order
}

func (s *orderShop) order(id string) (order models.Order) {
	s.t.Helper()
	s.caller.Get("/v1/orders/" + id).Want(http.StatusOK).JSON(&order)
	return order
}

// ended waits until an order has ended and its email is sent.
func (s *orderShop) ended(id string, status models.OrderStatus) models.Order {
	s.t.Helper()
	s.await("the order is "+string(status), func() bool { return s.order(id).Status == status })
	s.await("the email is sent", func() bool { return slices.Contains(s.events(id), "email.sent") })
	return s.order(id)
}

// events returns the types of an order's events.
func (s *orderShop) events(id string) []string {
	s.t.Helper()
	rows, _ := s.db.Query(s.t.Context(), `SELECT type FROM order_events WHERE order_id = $1 ORDER BY seq`, id)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

func (s *orderShop) wantStock(want int64) {
	s.t.Helper()
	var product models.Product
	s.await(fmt.Sprintf("%d in stock", want), func() bool {
		s.caller.Get("/v1/products/" + cups).Want(http.StatusOK).JSON(&product)
		return product.Stock == want
	})
}

// wantSold checks that this many more cups are sold.
func (s *orderShop) wantSold(more int64) {
	s.t.Helper()
	s.sold += more
	s.wantStock(1000 - s.sold)
}

// wantLedger checks what the gateway did for an order.
func (s *orderShop) wantLedger(id string, want ...string) {
	s.t.Helper()
	var ledger struct {
		Data []struct {
			OrderID  string `json:"order_id"`
			Kind     string `json:"kind"`
			Amount   int64  `json:"amount"`
			Currency string `json:"currency"`
		} `json:"data"`
	}
	if err := json.Unmarshal(s.ops.Get("/dev/gateway/ledger").Want(http.StatusOK).Body, &ledger); err != nil {
		s.t.Fatal(err)
	}
	got := []string{}
	for _, line := range ledger.Data {
		if line.OrderID == id {
			got = append(got, fmt.Sprintf("%s %d %s", line.Kind, line.Amount, line.Currency))
		}
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("got ledger %v; want %v", got, want)
	}
}

// wantMail checks the files of an order's emails.
func (s *orderShop) wantMail(id, kind, text string) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "mail", id+".*.eml"))
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != id+"."+kind+"@localhost.eml" {
		s.t.Fatalf("got mail %v, %v; want one that says %s", files, err, kind)
	}
	content, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(content), text) || !strings.Contains(string(content), "To: <a@example.com>\r\n") {
		s.t.Errorf("got mail %s, %v; want %q", content, err, text)
	}
}

var charged = []string{"authorization 3998 EUR", "capture 3998 EUR"}

// orderTokens are the ways of orders by their payment token.
var orderTokens = []struct {
	token string
	test  func(*testing.T, *orderShop)
}{
	{"tok_ok", orderPaid}, {"tok_declined", orderDeclined}, {"tok_flaky", orderRetried}, {"tok_slow", orderPaidSlowly}, {"tok_down", orderRedriven},
}

// TestOrders_tokens: orders take the same ways with every transport of messages.
func TestOrders_tokens(t *testing.T) {
	for _, transport := range transports {
		t.Run(string(transport.name), func(t *testing.T) {
			settings, _ := transport.start(t)
			s := newOrderShop(t, withBroker(settings))
			for _, token := range orderTokens {
				t.Run(token.token, func(t *testing.T) {
					s.t = t
					token.test(t, s)
				})
			}
			s.t = t
		})
	}
}

func orderPaid(t *testing.T, s *orderShop) {
	order := s.ended(s.place("tok_ok").ID, models.OrderConfirmed)
	if order.Reason != nil || !order.UpdatedAt.After(order.CreatedAt) {
		t.Errorf("got %+v", order)
	}
	s.wantLedger(order.ID, charged...)
	s.wantMail(order.ID, "confirmed", "It is confirmed")
	s.wantSold(2)
	events := s.events(order.ID)
	if events[0] != "order.placed" || !slices.Equal(events[3:], []string{"payment.captured", "order.confirmed", "email.sent"}) || len(events) != 6 {
		t.Errorf("got events %v", events)
	}
}

func orderDeclined(t *testing.T, s *orderShop) {
	order := s.ended(s.place("tok_declined").ID, models.OrderCancelled)
	if order.Reason == nil || *order.Reason != models.ReasonPaymentDeclined {
		t.Errorf("got %+v", order)
	}
	s.wantSold(0)
	s.wantLedger(order.ID)
	s.wantMail(order.ID, "cancelled", "\r\nThe payment was declined.\r\n")
}

func orderRetried(t *testing.T, s *orderShop) {
	order := s.ended(s.place("tok_flaky").ID, models.OrderConfirmed)
	s.wantLedger(order.ID, charged...)
	s.wantMail(order.ID, "confirmed", "It is confirmed")
	s.wantSold(2)
	var failures []string
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "queue: a delivery failed, retrying") && strings.Contains(line, `"key":"`+order.ID+`"`) {
			failures = append(failures, line)
		}
	}
	if len(failures) != 2 || !strings.Contains(failures[0], "500 Internal Server Error") || !strings.Contains(failures[1], `"attempt":2`) {
		t.Errorf("got failures in the log %s; want 2", failures)
	}
}

// The gateway answers after the deadline: the payment was made, and is made once.
func orderPaidSlowly(_ *testing.T, s *orderShop) {
	order := s.ended(s.place("tok_slow").ID, models.OrderConfirmed)
	s.wantLedger(order.ID, charged...)
	s.wantMail(order.ID, "confirmed", "It is confirmed")
	s.wantSold(2)
}

// A dead letter that is redriven when the gateway works again completes its order.
func orderRedriven(t *testing.T, s *orderShop) {
	order, admin := s.place("tok_down"), s.admin(models.ScopeAdminQueues)
	s.await("a dead letter", func() bool { return len(letters(admin, "?group=payment")) == 1 })
	d := letters(admin, "")[0]
	if string(d.Payload) != `{"order_id":"`+order.ID+`"}` || d.Topic != "order.placed" || d.Attempts != 4 || !strings.Contains(d.Reason, "500") {
		t.Errorf("got dead letter %+v with payload %s", d, d.Payload)
	}
	if got := s.order(order.ID); got.Status != models.OrderPending {
		t.Errorf("got %+v; want a pending order", got)
	}
	s.ops.Post("/dev/gateway/recover", nil).Want(http.StatusOK)
	admin.Post("/v1/admin/dead-letters/"+d.ID+"/redrive", nil).Want(http.StatusAccepted)
	s.ended(order.ID, models.OrderConfirmed)
	s.wantLedger(order.ID, charged...)
	s.wantMail(order.ID, "confirmed", "It is confirmed")
	s.wantSold(2)
}

// An order of more than there is is cancelled, and its payment is voided, if it was
// authorized.
func TestOrders_out_of_stock(t *testing.T) {
	s := newOrderShop(t)
	s.exec(`UPDATE products SET stock = 1 WHERE id = $1`, cups)
	order := s.ended(s.place("tok_ok").ID, models.OrderCancelled)
	if order.Reason == nil || *order.Reason != models.ReasonOutOfStock {
		t.Errorf("got %+v", order)
	}
	s.await("the payment is voided, or never authorized", func() bool {
		var left int
		err := s.db.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE state <> 'completed' AND kind = 'delivery'`).Scan(&left)
		return err == nil && left == 0
	})
	if slices.Contains(s.events(order.ID), "payment.voided") {
		s.wantLedger(order.ID, "authorization 3998 EUR", "void 3998 EUR")
	} else {
		s.wantLedger(order.ID)
	}
	s.wantStock(1)
	s.wantMail(order.ID, "cancelled", "\r\nThere is too little in stock.\r\n")
}

// Outside of dev mode emails wait without a mail server, use up no attempt, and are
// sent when there is one.
func TestOrders_emails_wait(t *testing.T) {
	s := newOrderShop(t)
	gateway := "http://" + s.app.OpsAddr().String() + "/dev/gateway"
	database := testkit.DatabaseURL(t)
	production := func(smtp *config.SMTP) *orderShop {
		p := &orderShop{testApp: newApp(t, onDatabase(database), watching(), working(), onWallClock(), func(o *appOptions) { o.config.PaymentURL, o.config.SMTP = gateway, smtp })}
		p.caller = p.testApp.caller("internal", models.ScopeOrdersRead, models.ScopeOrdersWrite)
		return p
	}
	waiting := func(p *orderShop) (n int) {
		if err := p.db.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE queue = 'email' AND state = 'scheduled' AND args ->> 'attempt' = '0'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	p := production(nil)
	id := p.place("tok_ok").ID
	p.await("the email is postponed", func() bool { return waiting(p) == 1 })
	if status := p.order(id).Status; status != models.OrderConfirmed || !strings.Contains(p.log.String(), "emails are not sent and wait: SMTP_URL is not set") {
		t.Errorf("got a %s order, log %s", status, p.log)
	}
	server := testkit.NewMailServer(t)
	p = production(smtpTo(t, server))
	p.exec(`UPDATE river_job SET state = 'available', scheduled_at = now() WHERE queue = 'email' AND state = 'scheduled'`) // ten minutes later
	p.await("the email is sent", func() bool { return slices.Contains(p.events(id), "email.sent") || waiting(p) == 1 })
	for waiting(p) == 1 { // the instance without a mail server was faster
		p.exec(`UPDATE river_job SET state = 'available', scheduled_at = now() WHERE queue = 'email' AND state = 'scheduled'`)
		p.await("the email is sent", func() bool { return slices.Contains(p.events(id), "email.sent") || waiting(p) == 1 })
	}
	if got := server.Received(); len(got) != 1 || got[0].MessageID != "<"+id+".confirmed@shop.example>" || strings.Contains(p.log.String(), "SMTP_URL is not set") {
		t.Errorf("got emails %+v, log %s", got, p.log)
	}
}

// smtpTo returns the settings for a mail server.
func smtpTo(t *testing.T, server *testkit.MailServer) *config.SMTP {
	t.Helper()
	addr, err := netip.ParseAddrPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return &config.SMTP{Host: addr.Addr().String(), Port: int(addr.Port()), Plaintext: true, From: &mail.Address{Address: "shop@shop.example"}}
}
