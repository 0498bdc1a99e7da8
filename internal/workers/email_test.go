package workers

import (
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	"ratelimiter/internal/orders"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// typeName returns the type of an error.
func typeName(err error) string { return fmt.Sprintf("%T", err) }

// email runs the group email with a mail server.
func (s *shop) email() *testkit.MailServer {
	s.Helper()
	server := testkit.NewMailServer(s)
	s.work(queue.Handlers{orders.GroupEmail: NewEmail(s.orders, mailerTo(s.T, server), sender).Handlers()})
	return server
}

// bodyOf returns the decoded text of an email.
func bodyOf(t *testing.T, m testkit.Mail) string {
	t.Helper()
	if got := m.Header.Get("Content-Type") + m.Header.Get("Content-Transfer-Encoding"); got != "text/plain; charset=UTF-8quoted-printable" {
		t.Errorf("got content %s", got)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(m.Body)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

func TestEmail(t *testing.T) {
	s := newShop(t)
	server := s.email()
	byCaller, outOfStock, declined := models.Progress.CancelledByCaller, models.Progress.StockRejected, models.Progress.PaymentDeclined
	for name, test := range map[string]struct {
		step models.Step // nil: confirmed
		kind string
		text string
	}{
		"confirmed":           {nil, "confirmed", "Thank you for your order ID.\n\nIt is confirmed: all items are reserved for you.\nYour payment was charged.\n"},
		"declined":            {declined, "cancelled", "Your order ID was cancelled.\nThe payment was declined.\n\nNothing will be delivered, and nothing was charged.\n"},
		"out of stock":        {outOfStock, "cancelled", "Your order ID was cancelled.\nThere is too little in stock.\n\nNothing will be delivered, and nothing was charged.\n"},
		"cancelled by caller": {byCaller, "cancelled", "Your order ID was cancelled.\nYou asked for it.\n\nNothing will be delivered, and nothing was charged.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shop{t, s.db, s.queue, s.orders, s.attempts}
			before := len(server.Received())
			id := s.place(2, 1)
			if test.step == nil {
				s.confirm(id)
			} else {
				s.apply(id, test.step)
			}
			s.await("the email is sent", func() bool { events := s.events(id); return strings.HasPrefix(events[len(events)-1], "email.sent") })
			received := server.Received()
			if len(received) != before+1 {
				t.Fatalf("got emails %+v; want one more than %d", received, before)
			}
			m, messageID := received[before], "<"+id+"."+test.kind+"@shop.example>"
			if events := s.events(id); events[len(events)-1] != "email.sent "+messageID {
				t.Errorf("got events %v", events)
			}
			if m.MessageID != messageID || m.From != sender.Address || m.To != "a@example.com" || m.Header.Get("To") != "<a@example.com>" ||
				m.Header.Get("From") != `"Shop" <shop@shop.example>` || m.Header.Get("Subject") != "Your order "+id+" is "+test.kind || m.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("got %+v", m)
			}
			want := strings.Replace(test.text, "ID", id, 1) + "\n2 x Espresso cups, set of two: 39.98 EUR\n1 x Espresso cups, set of two: 19.99 EUR\n\nTotal: 59.97 EUR\nPlaced: "
			if got := bodyOf(t, m); !strings.HasPrefix(got, want) {
				t.Errorf("got text\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// The server fails in each way before it works. The reply to the first accepted copy
// is lost: the second one has the same Message-ID.
func TestEmail_retries(t *testing.T) {
	s := newShop(t)
	s.attempts = 10
	server := testkit.NewMailServer(t)
	server.Hang(testkit.StepAccepted)
	s.work(queue.Handlers{orders.GroupEmail: NewEmail(s.orders, mailerTo(t, server), sender).Handlers()})
	id := s.place(1)
	s.confirm(id)
	s.await("the server keeps the email and doesn't answer", func() bool { return server.Hanging() == 1 })
	server.Refuse(testkit.StepRecipient, 452)
	server.Stop()
	server.Resume() // the connection is closed: the reply is lost
	server.Start()
	s.await("a delivery failed", func() bool {
		return column[bool](s, `SELECT COALESCE(max((args ->> 'attempt')::int), 0) >= 3 FROM river_job WHERE queue = 'email'`)[0]
	})
	server.Refuse(testkit.StepRecipient, 0)
	s.idle(orders.GroupEmail)
	received := server.Received()
	if len(received) != 2 || received[0].MessageID != received[1].MessageID || fmt.Sprint(received[0]) != fmt.Sprint(received[1]) {
		t.Errorf("got %+v; want the same email twice", received)
	}
	if events := s.events(id); len(events) != 5 || events[4] != "email.sent "+received[0].MessageID {
		t.Errorf("got events %v", events)
	}
}

// Addresses that can't be sent to are set aside, with nothing of them in the dead
// letter.
func TestEmail_dead_letters(t *testing.T) {
	for name, test := range map[string]struct {
		address string
		code    int // of the server; 0: it accepts
		reason  string
	}{
		"unknown recipient":    {"gone@example.com", 550, "send the email: sending SMTP RCPT TO command: 550"},
		"another header field": {"a@example.com\r\nBcc: b@example.com", 0, "the buyer's address: "},
		"several":              {"a@example.com, b@example.com", 0, "the buyer's address: "},
		"no address":           {"nobody", 0, "the buyer's address: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			id := s.place(1)
			s.exec(`UPDATE orders SET email = $2 WHERE id = $1`, id, test.address)
			s.confirm(id)
			server := s.email()
			server.Refuse(testkit.StepRecipient, test.code)
			s.await("a dead letter", func() bool { return len(s.letters(orders.GroupEmail)) == 1 })
			d := s.letters(orders.GroupEmail)[0]
			if !strings.HasPrefix(d.Reason, test.reason) || d.Attempts != 1 || strings.Contains(d.Reason+string(d.Message.Payload), "@") || len(server.Received()) != 0 {
				t.Errorf("got dead letter %+v, emails %+v", d, server.Received())
			}
		})
	}
}

// What is in the text of an email can't end it, or become a header field.
func TestCompose_text(t *testing.T) {
	name := "Tee\r\n.\r\nMAIL FROM:<x@example.com>\r\n\r\nBcc: b@example.com ñ 茶"
	order := models.Order{
		ID: "ord_1", Status: models.OrderConfirmed, Email: "ann+ö@exämple.com", Total: models.Money{Amount: 5, Currency: "EUR"},
		Items: []models.OrderItem{{Name: name, Quantity: 1, UnitPrice: models.Money{Amount: 5, Currency: "EUR"}}},
	}
	server := testkit.NewMailServer(t)
	var texts []string
	for range 2 {
		m, id, err := compose(order, sender)
		if err != nil || id != "<ord_1.confirmed@shop.example>" {
			t.Fatalf("got %s, %v", id, err)
		}
		var b bytes.Buffer
		if _, err := m.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, b.String())
		if err := mailerTo(t, server).Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("got two different emails\n%s\n%s", texts[0], texts[1])
	}
	got := server.Received()
	if len(got) != 2 || got[0].To != order.Email || got[0].Header.Get("Bcc") != "" || !strings.Contains(bodyOf(t, got[0]), "b@example.com ñ 茶: 0.05 EUR\n") {
		t.Errorf("got %+v", got)
	}
	if _, _, err := compose(models.Order{ID: "ord_1", Status: models.OrderPending, Email: "a@example.com"}, sender); err == nil {
		t.Error("got an email about a pending order")
	}
}
