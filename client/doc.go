// Package client is the Go client for the API. It is generated from the API's
// description, waits before the key's quota is used up, and retries.
//
//	c, err := client.New("https://api.example.com", key, nil)
//	products, err := c.ListProducts(ctx, nil)
//
// Every operation of the API is a method. Fields of merge patches, such as
// [UpdateKeyRequest], for which null and absent differ have the type nullable.Nullable.
// A failure that the API reports is a [*Problem].
//
// # Pacing
//
// The client learns the quota from the RateLimit field of responses: for each
// policy, what remains and when units return. It sends no more than what remains
// for the costs of the requests in flight. When too little remains, it waits for
// the reset, sends one request, and goes on by its response. The first request
// of each group of operations is sent alone, too. Under a concurrency policy, a
// request holds its slot until its response body has been read or closed. Resets
// are in whole seconds: a policy that admits one request every 100 ms, and no
// bursts, is used once a second.
//
// Requests that wait are sent in the order of their arrival, among those to which
// the same policies apply. A request that would have to wait longer than
// [Options.MaxWait] fails at once with a [*WaitError].
//
// With one client for a key, few requests are refused: such as one after a
// change of the quota. Clients that share a key see what others have spent only
// in responses. More of their requests are refused and sent again.
//
// # Retries
//
// A refused request (429) wasn't carried out. It is sent again after
// Retry-After, until MaxWait. A 503, or no response, may mean that the request
// was carried out. It is sent again if it is GET, HEAD, OPTIONS, PUT or DELETE,
// or has an Idempotency-Key, up to [Options.MaxAttempts] times in all. Without
// Retry-After the delay grows exponentially, up to 10 s. A request that is sent
// again may get another response than the first time: DELETE a 404, or a change
// with If-Match a 412.
//
// Every order gets an Idempotency-Key. If an order may have been placed although
// its response is missing, the error is an [*UnansweredError] that has the key.
// Sent again under the same key, the order is placed once:
//
//	var unanswered *client.UnansweredError
//	if errors.As(err, &unanswered) {
//		order, err = c.CreateOrder(ctx, &client.CreateOrderParams{IdempotencyKey: &unanswered.IdempotencyKey}, body)
//	}
//
// The same holds for a [*Problem] with a status of 500 or above. To continue after
// a restart of the program, choose the key and store it before the first call.
//
// # Events
//
// [Client.Events] follows an order:
//
//	for event, err := range c.Events(ctx, order.ID, "") {
//		if err != nil {
//			return err // resume later from the cursor of the last event
//		}
//		fmt.Println(event.Type)
//	}
package client
