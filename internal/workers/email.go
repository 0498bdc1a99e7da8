package workers

import (
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/wneessen/go-mail"

	"ratelimiter/internal/orders"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// Mailer sends emails.
type Mailer interface {
	// Send sends an email. After an error, the email may have been sent. An error
	// that no retry resolves is marked by queue.Permanent.
	Send(ctx context.Context, m *mail.Msg) error
}

// Email informs buyers how their orders ended: one email for each, at least once. An
// email that is sent again has the same Message-ID.
type Email struct {
	orders *orders.Store
	mailer Mailer
	from   *netmail.Address
}

// NewEmail returns the worker of the group email. It sends from an address whose
// domain is also that of the Message-IDs.
func NewEmail(store *orders.Store, mailer Mailer, from *netmail.Address) *Email {
	return &Email{store, mailer, from}
}

// Handlers returns the handlers by topic.
func (w *Email) Handlers() map[string]queue.Handler {
	return map[string]queue.Handler{
		string(models.EventOrderConfirmed): w.send,
		string(models.EventOrderCancelled): w.send,
	}
}

// send sends the email about an order that has ended.
func (w *Email) send(ctx context.Context, m *queue.Message) (queue.Effect, error) {
	id, err := orders.OrderOf(m)
	if err != nil {
		return nil, err
	}
	order, err := w.orders.Read(ctx, id)
	if err != nil {
		return nil, permanentIfMissing(err)
	}
	message, messageID, err := compose(order.Order, w.from)
	if err != nil {
		return nil, queue.Permanent(err)
	}
	if err := w.mailer.Send(ctx, message); err != nil {
		return nil, fmt.Errorf("send the email: %w", err)
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		locked, err := w.orders.Lock(ctx, tx, id)
		if err != nil {
			return permanentIfMissing(err)
		}
		return locked.Apply(ctx, models.Progress.EmailSent, models.EventData{MessageID: messageID})
	}, nil
}

// compose returns the email about an order that has ended, and its Message-ID, which
// is the same each time.
func compose(order models.Order, from *netmail.Address) (m *mail.Msg, messageID string, err error) {
	if order.Status == models.OrderPending {
		return nil, "", errors.New("the order has not ended")
	}
	domain := from.Address[strings.LastIndex(from.Address, "@")+1:]
	id := fmt.Sprintf("%s.%s@%s", order.ID, order.Status, domain)
	m = mail.NewMsg(mail.WithNoDefaultUserAgent())
	m.FromMailAddress(from)
	if err := m.To(order.Email); err != nil {
		return nil, "", fmt.Errorf("the buyer's address: %w", err)
	}
	m.SetMessageIDWithValue(id)
	m.SetDateWithValue(order.UpdatedAt.UTC())
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no automatic replies
	m.Subject(fmt.Sprintf("Your order %s is %s", order.ID, order.Status))
	m.SetBodyString(mail.TypeTextPlain, text(order))
	return m, "<" + id + ">", nil
}

// cancellations say why an order was cancelled.
var cancellations = map[string]string{
	models.ReasonPaymentDeclined: "The payment was declined.",
	models.ReasonOutOfStock:      "There is too little in stock.",
	models.ReasonByCaller:        "You asked for it.",
	models.ReasonExpired:         "It could not be processed in time.",
}

// text returns the text of the email about an order that has ended. Its own lines are
// short enough not to be wrapped by the encoding.
func text(order models.Order) string {
	var b strings.Builder
	price := func(m models.Money) string { return m.Format() + " " + m.Currency }
	if order.Status == models.OrderConfirmed {
		fmt.Fprintf(&b, "Thank you for your order %s.\n\n", order.ID)
		b.WriteString("It is confirmed: all items are reserved for you.\nYour payment was charged.\n\n")
	} else {
		fmt.Fprintf(&b, "Your order %s was cancelled.\n", order.ID)
		if order.Reason != nil && cancellations[*order.Reason] != "" {
			b.WriteString(cancellations[*order.Reason] + "\n")
		}
		b.WriteString("\nNothing will be delivered, and nothing was charged.\n\n")
	}
	for _, item := range order.Items {
		fmt.Fprintf(&b, "%d x %s: %s\n", item.Quantity, item.Name, price(item.Total()))
	}
	fmt.Fprintf(&b, "\nTotal: %s\nPlaced: %s\n", price(order.Total), order.CreatedAt.UTC().Format(time.RFC1123))
	return b.String()
}
