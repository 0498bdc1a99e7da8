package models

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// steps are all steps of the state machine.
var steps = map[string]Step{
	"reserve": Progress.StockReserved, "reject": Progress.StockRejected, "release": Progress.StockReleased,
	"authorize": Progress.PaymentAuthorized, "decline": Progress.PaymentDeclined, "begin capture": Progress.CaptureBegun,
	"capture": Progress.PaymentCaptured, "decline capture": Progress.CaptureDeclined, "void": Progress.PaymentVoided,
	"cancel": Progress.CancelledByCaller,
}

// Whichever steps workers and callers take, in any order and more than once, the order stays
// consistent, and it can always be finished.
func TestProgress_any_steps(t *testing.T) {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range steps {
			if !yield(name) {
				return
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		p := Progress{OrderPending, "", StockNone, PaymentNone}
		var log []EventType
		take := func(name string) {
			before := p
			next, events := steps[name](p)
			p, log = next, append(log, events...)
			if before.Status != OrderPending && p.Status != before.Status {
				t.Fatalf("%s changed the status of %+v to %+v", name, before, p)
			}
			if again, events := steps[name](p); len(events) > 0 || again != p {
				t.Fatalf("%s twice changed %+v to %+v with %v", name, p, again, events)
			}
		}
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 20).Draw(t, "steps") {
			take(name)
		}
		// Workers that do what is needed finish the order.
		for _, name := range []string{"reserve", "authorize", "begin capture", "capture", "release", "void"} {
			take(name)
		}
		count := func(e EventType) (n int) {
			for _, each := range log {
				if each == e {
					n++
				}
			}
			return n
		}
		confirmed := Progress{OrderConfirmed, "", StockHeld, PaymentCaptured}
		if p.Status == OrderPending || p.Status == OrderConfirmed && p != confirmed {
			t.Fatalf("got %+v at the end", p)
		}
		if p.Status == OrderCancelled && (p.Reason == "" || p.Stock == StockHeld || p.Payment == PaymentCaptured || p.Payment == PaymentAuthorized) {
			t.Fatalf("got %+v at the end", p)
		}
		if count(EventOrderConfirmed)+count(EventOrderCancelled) != 1 || count(EventPaymentCaptured) != count(EventOrderConfirmed) {
			t.Fatalf("got the events %v", log)
		}
		if count(EventStockReserved)-count(EventStockReleased) != count(EventOrderConfirmed) ||
			count(EventPaymentAuthorized)-count(EventPaymentVoided) > count(EventOrderConfirmed) {
			t.Fatalf("got the events %v", log)
		}
	})
}
