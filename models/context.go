package models

import (
	"context"
	"net/netip"
)

// Request is what is known of a request before it is carried out.
type Request struct {
	ID      string     // the X-Request-Id: accepted from the caller or made; empty outside HTTP
	Key     *APIKey    // the authenticated key; nil on routes that need none
	Address netip.Addr // the caller's, where a change may be audited; else the zero Addr
	Actor   string     // who acts where no key does, such as ActorCLI; empty: nobody

	// Replayed says that the answer was given before, to an earlier request
	// with the same idempotency key: nothing is done again, so what is charged
	// for successes is given back. Its handler sets it.
	Replayed bool
}

// RequestKey is the key under which a context holds its *Request. It is a
// string, and not of a type of its own as such keys should be, because that is
// the only kind of key that a *gin.Context looks up in itself.
const RequestKey = "ratelimiter/models.Request"

// Actors that are no keys.
const (
	ActorCLI = "cli" // the command line: whoever can run it owns the database
	ActorDev = "dev" // the start in dev mode
)

// WithRequest returns a context that carries r.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, RequestKey, r) //nolint:staticcheck // see RequestKey
}

// WithActor returns a context in which actor, one of the Actor constants, acts
// without a key.
func WithActor(ctx context.Context, actor string) context.Context {
	return WithRequest(ctx, &Request{Actor: actor})
}

// RequestFrom returns what is known of the request that ctx belongs to: a
// *gin.Context, or a context that WithRequest made. It is never nil; outside a
// request it is empty.
func RequestFrom(ctx context.Context) *Request {
	if r, ok := ctx.Value(RequestKey).(*Request); ok {
		return r
	}
	return &Request{}
}

// ActorName is who acts, as the audit names it: the key's id, or the actor
// without a key. Empty: nobody, who may change nothing.
func (r *Request) ActorName() string {
	if r.Key != nil {
		return r.Key.ID
	}
	return r.Actor
}
