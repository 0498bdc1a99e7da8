package orderproof

import (
	"slices"
	"testing"
	"time"

	"ratelimiter/models"
)

// sample returns faultless observations: a confirmed order, a declined one, one
// without stock, one that its buyer cancelled, and one that waits as a dead letter.
func sample() *observed {
	o := &observed{
		Orders: map[string]*stored{}, Mails: map[string]map[string]int{},
		Initial: map[string]int64{"cup": 10}, Stock: map[string]int64{"cup": 6},
	}
	add := func(id string, p models.Progress, cancelled int, events []models.EventType, kinds ...string) {
		s := &stored{Progress: p, Total: models.Money{Amount: 500, Currency: "EUR"}, Items: []models.NewItem{{ProductID: "cup", Quantity: 2}}}
		for i, t := range events {
			s.Events = append(s.Events, models.Event{Seq: int64(i + 1), Type: t, At: time.Unix(int64(i), 0)})
		}
		for i, kind := range kinds {
			o.Ledger = append(o.Ledger, entry{ID: kind + id, OrderID: id, Kind: kind, Amount: 500, Currency: "EUR", At: time.Unix(int64(100+i), 0)})
		}
		o.Orders[id] = s
		o.Acknowledged = append(o.Acknowledged, acknowledged{planned{Items: slices.Clone(s.Items)}, id, s.Total, cancelled})
		if p.Status != models.OrderPending {
			o.Mails[id] = map[string]int{"<" + id + "@x>": 2}
		}
	}
	add("confirmed", models.Progress{Status: "confirmed", Stock: "held", Payment: "captured"}, 409, []models.EventType{
		"order.placed", "payment.authorized", "stock.reserved", "payment.captured", "order.confirmed", "email.sent"}, "authorization", "capture")
	add("declined", models.Progress{Status: "cancelled", Reason: "payment_declined", Stock: "released", Payment: "declined"}, 0, []models.EventType{
		"order.placed", "stock.reserved", "payment.declined", "order.cancelled", "email.sent", "stock.released"})
	add("rejected", models.Progress{Status: "cancelled", Reason: "out_of_stock", Stock: "rejected", Payment: "voided"}, 0, []models.EventType{
		"order.placed", "payment.authorized", "stock.rejected", "order.cancelled", "payment.voided", "email.sent"}, "authorization", "void")
	add("cancelled", models.Progress{Status: "cancelled", Reason: "cancelled_by_caller", Stock: "none", Payment: "none"}, 200, []models.EventType{
		"order.placed", "order.cancelled", "email.sent"})
	add("dead", models.Progress{Status: "pending", Stock: "held", Payment: "capturing"}, 0, []models.EventType{
		"order.placed", "stock.reserved", "payment.authorized"}, "authorization", "capture")
	o.Orders["dead"].Open = true
	return o
}

// TestObserved_faults changes the sample in each way that the proof must find.
func TestObserved_faults(t *testing.T) {
	if list := sample().faults(); len(list) > 0 {
		t.Fatalf("got faults %v; want none", list)
	}
	pay := func(o *observed, id, kind string) {
		o.Ledger = append(o.Ledger, entry{OrderID: id, Kind: kind, Amount: 500, Currency: "EUR", At: time.Unix(200, 0)})
	}
	drop := func(o *observed, id, kind string) {
		o.Ledger = slices.DeleteFunc(o.Ledger, func(e entry) bool { return e.OrderID == id && e.Kind == kind })
	}
	for want, change := range map[string]func(*observed){
		"acknowledged order lost":                  func(o *observed) { delete(o.Orders, "cancelled") },
		"differs from what was acknowledged":       func(o *observed) { o.Orders["declined"].Items[0].Quantity = 3 },
		"placed without being acknowledged once":   func(o *observed) { o.Acknowledged = o.Acknowledged[1:] },
		"cancellation lost":                        func(o *observed) { o.Acknowledged[0].Cancelled = 200 },
		"cancelled after a refusal":                func(o *observed) { o.Acknowledged[3].Cancelled = 409 },
		"pending without a message or dead letter": func(o *observed) { o.Orders["dead"].Open = false },
		"cancelled without its stock back":         func(o *observed) { o.Orders["declined"].Stock = models.StockHeld },
		"cancelled without a void":                 func(o *observed) { o.Orders["rejected"].Payment = models.PaymentAuthorized },
		"cancelled with the amount still held":     func(o *observed) { pay(o, "declined", "authorization") },
		"events with a gap":                        func(o *observed) { o.Orders["dead"].Events[2].Seq = 4 },
		"events that can't be":                     func(o *observed) { o.Orders["dead"].Events[2].Type = models.EventStockReserved },
		"events and order differ":                  func(o *observed) { e := &o.Orders["dead"].Events; *e = (*e)[:2] },
		"paid without an order":                    func(o *observed) { pay(o, "unknown", "authorization") },
		"wrong amount":                             func(o *observed) { o.Ledger[0].Amount = 1 },
		"authorized twice":                         func(o *observed) { pay(o, "confirmed", "authorization") },
		"captured twice":                           func(o *observed) { pay(o, "confirmed", "capture") },
		"captured without stock":                   func(o *observed) { o.Ledger[1].At = time.Unix(1, 0) },
		"captured without knowing it":              func(o *observed) { pay(o, "rejected", "capture") },
		"confirmed without a capture":              func(o *observed) { drop(o, "confirmed", "capture") },
		"voided without reason":                    func(o *observed) { pay(o, "confirmed", "void") },
		"stock wrong":                              func(o *observed) { o.Stock["cup"]++ },
		"emails with different Message-IDs":        func(o *observed) { o.Mails["declined"]["<other@x>"] = 1 },
		"an email before the end":                  func(o *observed) { o.Mails["dead"] = map[string]int{"<x>": 1} },
		"without an email":                         func(o *observed) { delete(o.Mails, "declined") },
		"without the event of its email":           func(o *observed) { e := &o.Orders["confirmed"].Events; *e = (*e)[:5] },
	} {
		o := sample()
		change(o)
		list := o.faults()
		if !slices.ContainsFunc(list, func(f fault) bool { return f.What == want }) {
			t.Errorf("%s: got faults %v", want, list)
		}
	}
}
