package orders

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"ratelimiter/models"
)

func TestStore_Cancel(t *testing.T) {
	s, db := newStore(t)
	reserved, authorized, begun := models.Progress.StockReserved, models.Progress.PaymentAuthorized, models.Progress.CaptureBegun
	for name, c := range map[string]struct {
		steps  []models.Step
		reason string // "": it is too late
	}{
		"pending":   {nil, models.ReasonByCaller},
		"held":      {[]models.Step{reserved, authorized}, models.ReasonByCaller},
		"capturing": {[]models.Step{reserved, authorized, begun}, ""},
		"confirmed": {[]models.Step{reserved, authorized, begun, models.Progress.PaymentCaptured}, ""},
		"cancelled": {[]models.Step{models.Progress.StockRejected}, models.ReasonOutOfStock},
	} {
		t.Run(name, func(t *testing.T) {
			id := place(t, s).ID
			if err := s.apply(t, id, c.steps...); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Cancel(t.Context(), "other", id); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("another owner's: got error %v", err)
			}
			for range 2 {
				order, err := s.Cancel(t.Context(), "o", id)
				if c.reason == "" {
					var conflict *models.Error
					if !errors.As(err, &conflict) || conflict.Kind != models.KindConflict || conflict.Code != "order_not_cancellable" {
						t.Fatalf("got error %v", err)
					}
					continue
				}
				if err != nil || order.Status != models.OrderCancelled || order.Reason == nil || *order.Reason != c.reason {
					t.Fatalf("got %+v, error %v", order, err)
				}
				if stored, err := s.Get(t.Context(), "o", id); err != nil || stored.UpdatedAt != order.UpdatedAt || *stored.Reason != c.reason {
					t.Errorf("stored %+v, error %v; Cancel returned %+v", stored, err, order)
				}
			}
			cancels := column[int64](t, db, `SELECT count(*) FROM order_events WHERE type = 'order.cancelled' AND order_id = $1`, id)
			if want := int64(min(1, len(c.reason))); cancels[0] != want {
				t.Errorf("got %d events of the cancellation; want %d", cancels[0], want)
			}
		})
	}
	if _, err := s.Cancel(t.Context(), "o", "ord_none"); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("an unknown order: got error %v", err)
	}
}

// A cancellation races the capture, as the payment worker does it: each order ends
// confirmed or cancelled, and the caller's answer is right.
func TestStore_Cancel_races_capture(t *testing.T) {
	s, db := newStore(t)
	var confirmed, cancelled int
	for i := range 100 {
		id := place(t, s).ID
		if err := s.apply(t, id, models.Progress.StockReserved, models.Progress.PaymentAuthorized); err != nil {
			t.Fatal(err)
		}
		var racing sync.WaitGroup
		var cancelErr error
		var captured bool // at the gateway
		cancel := func() { _, cancelErr = s.Cancel(t.Context(), "o", id) }
		capture := func() {
			if err := s.apply(t, id, models.Progress.CaptureBegun); err != nil {
				t.Error(err)
			}
			order, err := s.Read(t.Context(), id)
			if err != nil {
				t.Error(err)
			}
			if captured = order.Progress.NeedsCapture(); captured {
				if err := s.apply(t, id, models.Progress.PaymentCaptured); err != nil {
					t.Error(err)
				}
			}
		}
		first, second := cancel, capture
		if i%2 == 0 { // the goroutine that starts last runs first
			first, second = second, first
		}
		racing.Go(first)
		racing.Go(second)
		racing.Wait()
		order, err := s.Read(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		events := column[string](t, db, `SELECT type FROM order_events WHERE order_id = $1 ORDER BY seq`, id)
		switch {
		case cancelErr == nil && !captured && order.Status == models.OrderCancelled && order.Progress.Payment == models.PaymentAuthorized &&
			!slices.Contains(events, "payment.captured"):
			cancelled++
		case errors.Is(cancelErr, errNotCancellable) && captured && order.Status == models.OrderConfirmed && !slices.Contains(events, "order.cancelled"):
			confirmed++
		default:
			t.Fatalf("got %+v, captured %t, error of the cancellation %v, events %v", order.Progress, captured, cancelErr, events)
		}
	}
	if confirmed == 0 || cancelled == 0 {
		t.Errorf("%d confirmed, %d cancelled: there was no race", confirmed, cancelled)
	}
}
