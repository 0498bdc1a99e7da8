package orders

import (
	"encoding/json"

	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// The groups of workers that process orders.
const (
	GroupInventory = "inventory"
	GroupPayment   = "payment"
	GroupEmail     = "email"
)

// Routes are the groups that get the messages about orders. Topics are the events
// that lead to further work.
var Routes = queue.Routes{
	string(models.EventOrderPlaced):       {GroupInventory, GroupPayment},
	string(models.EventStockReserved):     {GroupPayment},
	string(models.EventStockRejected):     {GroupPayment},
	string(models.EventPaymentAuthorized): {GroupPayment},
	string(models.EventPaymentDeclined):   {GroupInventory},
	string(models.EventOrderConfirmed):    {GroupEmail},
	string(models.EventOrderCancelled):    {GroupInventory, GroupPayment, GroupEmail},
}

// payloadVersion is that of payload.
const payloadVersion = 1

// payload is the content of all messages about orders. Workers look at the state
// that they find.
type payload struct {
	OrderID string `json:"order_id"`
}

// OrderOf returns the id of the order that a message is about. Its error is
// permanent.
func OrderOf(m *queue.Message) (string, error) {
	var p payload
	err := m.Decode(&p)
	return p.OrderID, err
}

// messages returns the messages that follow from events of an order.
func messages(o models.Order, p models.Progress, types []models.EventType) []*queue.Message {
	var list []*queue.Message
	for _, t := range types {
		// An authorization leads to a capture only if the stock is held already;
		// otherwise its reservation does.
		if t == models.EventPaymentAuthorized && !p.NeedsCapture() {
			continue
		}
		if Routes[string(t)] != nil {
			list = append(list, newMessage(t, o))
		}
	}
	return list
}

func newMessage(t models.EventType, o models.Order) *queue.Message {
	content, _ := json.Marshal(payload{o.ID}) // a struct of a string never fails
	return &queue.Message{Topic: string(t), Key: o.ID, Owner: o.Owner, Version: payloadVersion, Payload: content}
}
