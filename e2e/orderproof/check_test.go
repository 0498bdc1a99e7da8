package orderproof

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"ratelimiter/models"
)

// observed is what is known of all orders at a moment when no message is being
// delivered. What the buyers, the gateway and the mail server know is as they saw
// it; the rest is the database's.
type observed struct {
	Acknowledged   []acknowledged
	Orders         map[string]*stored
	Ledger         []entry
	Mails          map[string]map[string]int // by order, how often each Message-ID came
	Initial, Stock map[string]int64          // units by product
}

// acknowledged is an order as its buyer knows it.
type acknowledged struct {
	planned
	ID        string
	Total     models.Money
	Cancelled int // status of the answer to the cancellation; 0: the buyer didn't ask
}

// stored is an order in the database.
type stored struct {
	models.Progress
	Total  models.Money
	Items  []models.NewItem
	Events []models.Event
	Open   bool // a message or a dead letter about the order exists
}

// entry is one of the gateway's ledger.
type entry struct {
	ID       string    `json:"id"`
	OrderID  string    `json:"order_id"`
	Kind     string    `json:"kind"`
	Amount   int64     `json:"amount"`
	Currency string    `json:"currency"`
	At       time.Time `json:"at"`
}

// fault is something that must not be.
type fault struct {
	Order string // or product
	What  string // the same for all orders with the same fault
	More  string
}

func (f fault) String() string { return fmt.Sprintf("%s: %s %s", f.Order, f.What, f.More) }

// faults returns everything that is wrong.
func (o *observed) faults() (list []fault) {
	add := func(order, what string, more ...any) { list = append(list, fault{order, what, fmt.Sprint(more...)}) }
	for _, a := range o.Acknowledged {
		o.checkAcknowledged(a, add)
	}
	if len(o.Orders) > len(o.Acknowledged) {
		add("all", "placed without being acknowledged once", len(o.Orders), " orders, ", len(o.Acknowledged), " acknowledged")
	}
	entries := map[string][]entry{}
	for _, e := range o.Ledger {
		entries[e.OrderID] = append(entries[e.OrderID], e)
	}
	for id := range entries {
		if o.Orders[id] == nil {
			add(id, "paid without an order")
		}
	}
	taken := map[string]int64{}
	for _, id := range slices.Sorted(maps.Keys(o.Orders)) {
		order := o.Orders[id]
		if order.Stock == models.StockHeld {
			for _, item := range order.Items {
				taken[item.ProductID] += item.Quantity
			}
		}
		found := func(what string, more ...any) { add(id, what, more...) }
		order.checkEnd(found)
		order.checkEvents(found)
		order.checkPayment(entries[id], found)
		order.checkMails(o.Mails[id], found)
	}
	for _, product := range slices.Sorted(maps.Keys(o.Initial)) {
		if left := o.Initial[product] - taken[product]; o.Stock[product] != left || left < 0 {
			add(product, "stock wrong", o.Stock[product], " units, want ", left)
		}
	}
	return list
}

func (o *observed) checkAcknowledged(a acknowledged, add func(order, what string, more ...any)) {
	order := o.Orders[a.ID]
	switch {
	case order == nil:
		add(a.ID, "acknowledged order lost")
	case order.Total != a.Total || !slices.Equal(order.Items, a.Items):
		add(a.ID, "differs from what was acknowledged", order.Total, order.Items, a.Total, a.Items)
	case a.Cancelled == 200 && order.Status != models.OrderCancelled:
		add(a.ID, "cancellation lost", order.Progress)
	case a.Cancelled == 409 && order.Reason == models.ReasonByCaller:
		add(a.ID, "cancelled after a refusal")
	}
}

// checkEnd checks that the order has ended, with nothing left to do.
func (o *stored) checkEnd(found func(what string, more ...any)) {
	switch {
	case o.Open:
	case o.Status == models.OrderPending:
		found("pending without a message or dead letter", o.Progress)
	case o.NeedsRelease():
		found("cancelled without its stock back", o.Progress)
	case o.Payment == models.PaymentAuthorized:
		found("cancelled without a void", o.Progress)
	}
}

// checkEvents replays the events.
func (o *stored) checkEvents(found func(what string, more ...any)) {
	for i, e := range o.Events {
		if e.Seq != int64(i+1) {
			found("events with a gap", e)
			return
		}
	}
	p, err := replay(o.Events)
	now := o.Progress
	if now.Payment == models.PaymentCapturing { // of which there is no event
		now.Payment = models.PaymentAuthorized
	}
	switch {
	case err != nil:
		found("events that can't be", err)
	case p != now:
		found("events and order differ", p, now)
	}
}

// replay takes the steps of the state machine that the events are about. The error
// says which of them can't be.
func replay(events []models.Event) (models.Progress, error) {
	p := models.Progress{Status: models.OrderPending, Stock: models.StockNone, Payment: models.PaymentNone}
	if len(events) == 0 || events[0].Type != models.EventOrderPlaced {
		return p, fmt.Errorf("the first isn't order.placed: %v", events)
	}
	mailed := false
	for left := events[1:]; len(left) > 0; {
		next, types := step(p, left[0].Type)
		if len(types) == 0 || len(left) < len(types) || mailed && left[0].Type == models.EventEmailSent {
			return p, fmt.Errorf("%s after %+v", left[0].Type, p)
		}
		for i, t := range types {
			if left[i].Type != t {
				return p, fmt.Errorf("%s instead of %s after %+v", left[i].Type, t, p)
			}
			mailed = mailed || t == models.EventEmailSent
		}
		p, left = next, left[len(types):]
	}
	return p, nil
}

// step takes the step that begins with this event, if the progress allows it.
func step(p models.Progress, t models.EventType) (models.Progress, []models.EventType) {
	begun, _ := p.CaptureBegun()
	switch t {
	case models.EventStockReserved:
		return p.StockReserved()
	case models.EventStockRejected:
		return p.StockRejected()
	case models.EventStockReleased:
		return p.StockReleased()
	case models.EventPaymentAuthorized:
		return p.PaymentAuthorized()
	case models.EventPaymentDeclined:
		if next, types := p.PaymentDeclined(); len(types) > 0 {
			return next, types
		}
		return begun.CaptureDeclined()
	case models.EventPaymentCaptured:
		return begun.PaymentCaptured()
	case models.EventPaymentVoided:
		return p.PaymentVoided()
	case models.EventOrderCancelled:
		return p.CancelledByCaller()
	case models.EventEmailSent:
		return p.EmailSent()
	default:
		return p, nil
	}
}

// checkPayment compares the order with its entries in the ledger.
func (o *stored) checkPayment(entries []entry, found func(what string, more ...any)) {
	count := map[string]int{}
	var captured time.Time
	for _, e := range entries {
		count[e.Kind]++
		if e.Amount != o.Total.Amount || e.Currency != o.Total.Currency {
			found("wrong amount", e)
		}
		if e.Kind == "capture" {
			captured = e.At
		}
	}
	if count["authorization"] > 1 {
		found("authorized twice", entries)
	}
	if count["capture"] > 1 {
		found("captured twice", entries)
	}
	if count["capture"] > 0 && (o.Stock != models.StockHeld || captured.Before(o.reserved())) {
		found("captured without stock", o.Progress, entries)
	}
	if count["capture"] > 0 && o.Payment != models.PaymentCapturing && o.Payment != models.PaymentCaptured {
		found("captured without knowing it", o.Progress, entries)
	}
	if count["capture"] == 0 && o.Status == models.OrderConfirmed {
		found("confirmed without a capture", entries)
	}
	if count["void"] > count["authorization"] || count["void"] > 0 && o.Status != models.OrderCancelled {
		found("voided without reason", o.Progress, entries)
	}
	if o.Status == models.OrderCancelled && !o.Open && count["void"] < count["authorization"] {
		found("cancelled with the amount still held", o.Progress, entries)
	}
}

// reserved returns when the stock was reserved, or a time after all others.
func (o *stored) reserved() time.Time {
	for _, e := range o.Events {
		if e.Type == models.EventStockReserved {
			return e.At
		}
	}
	return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
}

// checkMails checks that an ended order has its email, of one Message-ID.
func (o *stored) checkMails(mails map[string]int, found func(what string, more ...any)) {
	ended := o.Status != models.OrderPending
	sent := slices.ContainsFunc(o.Events, func(e models.Event) bool { return e.Type == models.EventEmailSent })
	switch {
	case len(mails) > 1:
		found("emails with different Message-IDs", mails)
	case len(mails) == 1 && !ended:
		found("an email before the end", mails)
	case len(mails) == 0 && (ended && !o.Open || sent):
		found("without an email", o.Progress)
	case ended && !o.Open && !sent:
		found("without the event of its email", o.Progress)
	}
}
