package devgateway

import (
	"context"
	"time"
)

// The payment tokens. What they do is per order. Every other token is declined.
const (
	TokenOK       = "tok_ok"       // authorized
	TokenDeclined = "tok_declined" // declined
	TokenFlaky    = "tok_flaky"    // two authorizations fail with 500, then as tok_ok
	TokenDown     = "tok_down"     // authorizations fail with 500 until POST /recover, then as tok_ok
	TokenSlow     = "tok_slow"     // as tok_ok, but responses to POSTs come late; what they report has happened
)

// flakyFailures is how often tok_flaky fails.
const flakyFailures = 2

// slowDelay is longer than the deadline of clients, one second.
const slowDelay = 2 * time.Second

// fails reports whether an authorization with this token fails.
func (o *order) fails(token string) bool {
	switch token {
	case TokenFlaky:
		return o.failures < flakyFailures
	case TokenDown:
		return !o.recovered
	default:
		return false
	}
}

// statusOf returns the status of a new authorization with this token.
func statusOf(token string) Status {
	switch token {
	case TokenOK, TokenFlaky, TokenDown, TokenSlow:
		return StatusAuthorized
	default:
		return StatusDeclined
	}
}

// delay waits as long as tok_slow does, or until the client or the gateway is gone.
func (g *Gateway) delay(ctx context.Context) {
	timer := time.NewTimer(g.slow)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-g.stopping:
	}
}
