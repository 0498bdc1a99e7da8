package models

import (
	"context"
	"net/netip"
	"time"

	"ratelimiter/ratelimit"
)

// Request is what services and handlers know of the request that they serve.
type Request struct {
	ID      string           // the X-Request-Id, accepted or generated; empty outside HTTP
	Key     *APIKey          // the authenticated key, without what only operators see (name, metadata, overrides, last use); nil on public routes
	Quota   *ratelimit.Quota // of Key; nil without one
	Address netip.Addr       // the caller's, on routes whose changes are audited
	Actor   string           // who acts where no key does, such as ActorCLI; empty: nobody

	// Administrative requests read or change what operators manage. They hold at
	// most a share of the connections to the database.
	Administrative bool

	// Replayed is set by a handler whose response repeats that of an earlier
	// request with the same idempotency key. Such a response isn't charged by
	// policies that charge for successes.
	Replayed bool

	// KeepSlots leaves the concurrency slots of the request to a handler whose
	// connection outlives the request. They are renewed until release frees them. It
	// is nil on routes without streams, and must be called before the handler returns.
	KeepSlots func() (release func())
	// Free is set by a handler whose response costs nothing: a wait for events that
	// ended without any.
	Free bool

	// Waited is how long the handler waited because the client asked for it.
	Waited time.Duration
}

// RequestKey is the key under which a context holds its *Request. It is a
// plain string because a *gin.Context looks up only string keys in itself.
const RequestKey = "ratelimiter/models.Request"

// Actors that are no keys.
const (
	ActorCLI = "cli" // the command line, whose user owns the database
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

// RequestFrom returns the request that ctx belongs to: ctx is a *gin.Context,
// or derived from a context that WithRequest made. The result is never nil;
// outside a request it is empty.
func RequestFrom(ctx context.Context) *Request {
	if r, ok := ctx.Value(RequestKey).(*Request); ok {
		return r
	}
	return &Request{}
}

// ActorName returns who acts, as the audit records it: the key's id, or the
// actor without a key. Without an actor it is empty, and changes are rejected.
func (r *Request) ActorName() string {
	if r.Key != nil {
		return r.Key.ID
	}
	return r.Actor
}
