// Package client calls the API from Go, at the speed that the key's quota
// allows: it is made from the API's description, and it paces itself.
//
//	c, err := client.New("https://api.example.com", key)
//	products, err := c.ListProducts(ctx, nil)
//
// Every operation of the API is a method that takes and returns the API's own
// shapes; where null says something else than leaving out, as in [KeyPatch], a
// field is a nullable.Nullable. A failure that the API reports is a [*Problem]; a
// request that would have to wait for longer than [WithLongestWait] is a
// [*WaitError], which says when to come back.
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
// With one process on a key, no request is refused. Several that share one know
// of each other only by the answers, so some of their requests are refused, and
// sent again when the server says so; callers see only that it takes longer.
// They give way to each other by random pauses, so their shares are equal on
// average, for requests of the same cost. Dear ones can wait long beside many
// cheap ones of another process, which take each unit as it comes: a process
// that needs its share gets a key of its own.
//
// # Failures
//
// What did no harm is tried again. A refusal (429) wasn't done, so it is sent
// again as often as it takes, until [WithLongestWait]: then the caller gets the
// refusal, or a [*WaitError]. A 503 or a request without an answer may have been
// done: such a request is sent again, at most [WithMaxAttempts] times in all,
// where doing it twice leaves things as doing it once (GET, PUT, DELETE), or
// with an Idempotency-Key, which every order is given. A DELETE, or a change
// with If-Match or If-None-Match, that was done at the first try may so be
// answered 404 or 412 by the second.
//
// When no answer comes even so, the error is an [*UnansweredError]. An order may
// have been placed then: whoever goes on sends the same order under the same
// key, which gets the first answer once more and places no second one. A call
// without that key is a new order.
//
//	var silence *client.UnansweredError
//	if errors.As(err, &silence) {
//		order, err = c.CreateOrder(ctx, &client.CreateOrderParams{IdempotencyKey: &silence.IdempotencyKey}, body)
//	}
//
// The same holds for a [*Problem] of status 500 and above, which tells the key too.
// Who must go on after a restart of the program chooses the key, and keeps it
// before the first call.
//
// It is not a limiter for your own callers (that is package ratelimit), and it
// keeps nothing between runs.
package client
