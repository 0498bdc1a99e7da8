package models

import "context"

// Request is what the middleware knows of a request before its handler runs.
type Request struct {
	ID  string  // the X-Request-Id: accepted from the caller or made
	Key *APIKey // the authenticated key; nil on routes that need none
}

type requestContextKey struct{}

// RequestKey is the key under which a request's context holds its *Request.
// Middleware that carries the value itself answers to it; everyone else uses
// WithRequest and RequestFrom.
var RequestKey any = requestContextKey{}

// WithRequest returns a context that carries r.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, RequestKey, r)
}

// RequestFrom returns what is known of the request that ctx belongs to. It is
// never nil; outside a request it is empty.
func RequestFrom(ctx context.Context) *Request {
	if r, ok := ctx.Value(RequestKey).(*Request); ok {
		return r
	}
	return &Request{}
}
