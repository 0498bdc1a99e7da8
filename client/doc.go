// Package client calls the API from Go, at the speed that the key's quota
// allows: it is made from the API's description, and it paces itself.
//
//	c, err := client.New("https://api.example.com", key)
//	products, err := c.ListProducts(ctx, nil)
//
// Every operation of the API is a method that takes and returns the API's own
// shapes. A failure that the API reports is a [*Problem]; a request that would
// have to wait for longer than [WithLongestWait] is a [*WaitError], which says
// when to come back.
//
// # Pacing
//
// A [Transport] stands under the methods. It reads once what the key's policies
// are (GET /v1/me) and where they stand (GET /v1/me/limits, both free), and
// from then on follows each of them by the same arithmetic as the server, on
// the safe side: a request is sent when it will be admitted at whatever moment
// it arrives. Requests that must wait do so in the order in which they came; a
// request overtakes another only where no policy that the other waits for
// applies to it. The RateLimit fields of every answer correct the picture, so
// that others who spend the same quota are noticed.
//
// With one process on a key, no request is refused. With several, some may
// be, and are sent again when the server says so: after 429 always, for
// nothing was done; after 503 where doing it twice does no harm.
//
// It is not a limiter for your own callers (that is package ratelimit), and it
// keeps nothing between runs.
package client
