package models

// StockState is what inventory has done for an order.
type StockState string

// The states of an order's stock.
const (
	StockNone     StockState = "none"     // nothing yet
	StockHeld     StockState = "held"     // taken from the products
	StockRejected StockState = "rejected" // there was too little
	StockReleased StockState = "released" // given back
)

// PaymentState is what is known of an order's payment.
type PaymentState string

// The states of an order's payment.
const (
	PaymentNone       PaymentState = "none"       // nothing yet, or a call whose outcome isn't known yet
	PaymentAuthorized PaymentState = "authorized" // the gateway holds the amount
	PaymentDeclined   PaymentState = "declined"   // the gateway refused
	PaymentCapturing  PaymentState = "capturing"  // about to be captured: the order can't be cancelled any more
	PaymentCaptured   PaymentState = "captured"   // charged
	PaymentVoided     PaymentState = "voided"     // the gateway holds the amount no longer
)

// Reasons for which orders are cancelled.
const (
	ReasonPaymentDeclined = "payment_declined"
	ReasonOutOfStock      = "out_of_stock"
	ReasonByCaller        = "cancelled_by_caller"
	ReasonExpired         = "expired"
)

// Progress is how far an order is. Its methods are the state machine of orders:
// each is one step and returns the next progress with the events that it causes. A
// step that the state doesn't allow, because it was taken before or another one
// was faster, changes nothing and has no events.
type Progress struct {
	Status  OrderStatus
	Reason  string // of a cancelled order; otherwise empty
	Stock   StockState
	Payment PaymentState
}

// Step is one step of the state machine, such as Progress.StockReserved.
type Step func(Progress) (Progress, []EventType)

// NeedsStock reports whether stock should be reserved.
func (p Progress) NeedsStock() bool { return p.Status == OrderPending && p.Stock == StockNone }

// NeedsRelease reports whether stock is held that should be given back.
func (p Progress) NeedsRelease() bool { return p.Status == OrderCancelled && p.Stock == StockHeld }

// NeedsAuthorization reports whether the payment should be authorized.
func (p Progress) NeedsAuthorization() bool {
	return p.Status == OrderPending && p.Payment == PaymentNone
}

// NeedsCapture reports whether the payment should be captured: the stock is held,
// and the amount too.
func (p Progress) NeedsCapture() bool {
	return p.Status == OrderPending && p.Stock == StockHeld && (p.Payment == PaymentAuthorized || p.Payment == PaymentCapturing)
}

// NeedsVoid reports whether an authorization may exist that should be voided. Only
// the gateway knows the outcome of a call that was interrupted.
func (p Progress) NeedsVoid() bool {
	return p.Status == OrderCancelled && (p.Payment == PaymentNone || p.Payment == PaymentAuthorized)
}

// Resume returns the topics of the messages that make the workers finish an order
// whose messages were lost; none: nothing is left to do, apart from an email.
func (p Progress) Resume() (topics []EventType) {
	switch {
	case p.NeedsCapture():
		return []EventType{EventStockReserved}
	case p.Status == OrderPending:
		return []EventType{EventOrderPlaced} // each worker does what is missing
	}
	if p.NeedsRelease() {
		topics = append(topics, EventPaymentDeclined)
	}
	if p.NeedsVoid() && p.Payment == PaymentAuthorized {
		topics = append(topics, EventStockRejected)
	}
	return topics
}

// StockReserved follows when inventory holds the stock.
func (p Progress) StockReserved() (Progress, []EventType) {
	if !p.NeedsStock() {
		return p, nil
	}
	p.Stock = StockHeld
	return p, []EventType{EventStockReserved}
}

// StockRejected follows when there is too little stock.
func (p Progress) StockRejected() (Progress, []EventType) {
	if !p.NeedsStock() {
		return p, nil
	}
	p.Stock = StockRejected
	return p.cancelled(ReasonOutOfStock, EventStockRejected)
}

// StockReleased follows when inventory has given the stock back.
func (p Progress) StockReleased() (Progress, []EventType) {
	if !p.NeedsRelease() {
		return p, nil
	}
	p.Stock = StockReleased
	return p, []EventType{EventStockReleased}
}

// PaymentAuthorized follows when the gateway holds the amount. If the order was
// cancelled by then, the authorization is voided later.
func (p Progress) PaymentAuthorized() (Progress, []EventType) {
	if p.Status == OrderConfirmed || p.Payment != PaymentNone {
		return p, nil
	}
	p.Payment = PaymentAuthorized
	return p, []EventType{EventPaymentAuthorized}
}

// PaymentDeclined follows when the gateway refuses to authorize the amount.
func (p Progress) PaymentDeclined() (Progress, []EventType) {
	if !p.NeedsAuthorization() {
		return p, nil
	}
	p.Payment = PaymentDeclined
	return p.cancelled(ReasonPaymentDeclined, EventPaymentDeclined)
}

// CaptureBegun precedes the call that captures. From here on the order can't be
// cancelled by its caller.
func (p Progress) CaptureBegun() (Progress, []EventType) {
	if p.NeedsCapture() {
		p.Payment = PaymentCapturing
	}
	return p, nil
}

// PaymentCaptured follows when the gateway has charged the amount.
func (p Progress) PaymentCaptured() (Progress, []EventType) {
	if p.Payment != PaymentCapturing {
		return p, nil
	}
	p.Payment, p.Status = PaymentCaptured, OrderConfirmed
	return p, []EventType{EventPaymentCaptured, EventOrderConfirmed}
}

// CaptureDeclined follows when the gateway refuses to capture. The authorization
// is voided later.
func (p Progress) CaptureDeclined() (Progress, []EventType) {
	if p.Payment != PaymentCapturing {
		return p, nil
	}
	p.Payment = PaymentAuthorized
	return p.cancelled(ReasonPaymentDeclined, EventPaymentDeclined)
}

// PaymentVoided follows when the gateway has voided an authorization.
func (p Progress) PaymentVoided() (Progress, []EventType) {
	if !p.NeedsVoid() {
		return p, nil
	}
	p.Payment = PaymentVoided
	return p, []EventType{EventPaymentVoided}
}

// EmailSent follows when the email about the end of the order was sent.
func (p Progress) EmailSent() (Progress, []EventType) {
	if p.Status == OrderPending {
		return p, nil
	}
	return p, []EventType{EventEmailSent}
}

// CancelledByCaller follows when the caller cancels a pending order whose payment
// isn't being captured.
func (p Progress) CancelledByCaller() (Progress, []EventType) {
	if p.Status != OrderPending || p.Payment == PaymentCapturing {
		return p, nil
	}
	return p.cancelled(ReasonByCaller)
}

// cancelled returns the cancelled order. What it holds is given back later.
func (p Progress) cancelled(reason string, causes ...EventType) (Progress, []EventType) {
	p.Status, p.Reason = OrderCancelled, reason
	return p, append(causes, EventOrderCancelled)
}
