package models

import "context"

// Request is what the middleware knows of a request before its handler runs.
type Request struct {
	ID  string  // the X-Request-Id: accepted from the caller or made
	Key *APIKey // the authenticated key; nil on routes that need none
}

// RequestKey is the key under which a context holds its *Request. It is a
// string, and not of a type of its own as such keys should be, because that is
// the only kind of key that a *gin.Context looks up in itself.
const RequestKey = "ratelimiter/models.Request"

// WithRequest returns a context that carries r.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, RequestKey, r) //nolint:staticcheck // see RequestKey
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
