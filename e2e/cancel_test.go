package e2e

import (
	"net/http"
	"testing"

	"ratelimiter/models"
)

func TestOrders_cancel(t *testing.T) {
	app := newApp(t)
	caller, other := app.caller("internal"), app.caller("internal")
	var order, got models.Order
	caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated).JSON(&order)
	if order.Status != models.OrderPending || order.Reason != nil || order.UpdatedAt != order.CreatedAt {
		t.Errorf("placed: got %+v", order)
	}
	path := "/v1/orders/" + order.ID
	tag := caller.Get(path).Want(http.StatusOK).Header.Get("ETag")

	other.Post(path+"/cancel", nil).Want(http.StatusNotFound)
	for range 2 {
		caller.Post(path+"/cancel", nil).Want(http.StatusOK).JSON(&got)
		if got.Status != models.OrderCancelled || got.Reason == nil || *got.Reason != models.ReasonByCaller || !got.UpdatedAt.After(order.UpdatedAt) {
			t.Errorf("cancelled: got %+v", got)
		}
	}
	var read models.Order
	caller.Get(path, "If-None-Match", tag).Want(http.StatusOK).JSON(&read)
	if read.Status != got.Status || *read.Reason != *got.Reason || read.UpdatedAt != got.UpdatedAt {
		t.Errorf("read: got %+v; want %+v", read, got)
	}
	// A replay answers as the first request did.
	caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated).JSON(&read)
	if read.ID != order.ID || read.Status != models.OrderPending || read.Reason != nil || read.UpdatedAt != order.UpdatedAt {
		t.Errorf("replayed: got %+v; want %+v", read, order)
	}
	caller.Get(path + "/invoice").Want(http.StatusOK)

	caller.Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&order)
	app.exec(`UPDATE orders SET stock = 'held', payment = 'capturing' WHERE id = $1`, order.ID)
	if p := problemOf(caller.Post("/v1/orders/"+order.ID+"/cancel", nil).Want(http.StatusConflict)); p.Code != "order_not_cancellable" {
		t.Errorf("got code %q", p.Code)
	}
}
