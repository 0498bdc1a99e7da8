package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"ratelimiter/client"
)

// Create a client once for a key. It is safe for concurrent use.
func ExampleNew() {
	api := shop()
	defer api.Close()

	c, err := client.New(api.URL, "rl_live_…", &client.Options{UserAgent: "checkout/1.4"})
	if err != nil {
		fmt.Println(err)
		return
	}
	products, err := c.ListProducts(context.Background(), &client.ListProductsParams{Limit: new(int64(2))})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range products.Data {
		fmt.Printf("%s %.2f %s\n", p.Name, float64(p.Price.Amount)/100, p.Price.Currency)
	}
	// Output:
	// Espresso cups, set of two 19.99 EUR
}

// A failure that the API reports is a *Problem, with every fault of the input.
func ExampleProblem() {
	api := shop()
	defer api.Close()
	c, err := client.New(api.URL, "rl_live_…", nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = c.CreateOrder(context.Background(), nil, client.CreateOrderRequest{Email: "nobody"})
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		fmt.Println(problem.Status, problem.RequestID)
		for _, fault := range problem.Errors {
			fmt.Println(fault.Location, fault.Pointer, fault.Message)
		}
	}
	// Output:
	// 422 req_7
	// body /email must be an email address
}

// A request that would have to wait too long isn't sent.
func ExampleWaitError() {
	api := shop()
	defer api.Close()
	c, err := client.New(api.URL, "rl_live_…", &client.Options{MaxWait: 10 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}

	for range 6 { // five are available
		_, err = c.ListProducts(context.Background(), nil)
	}
	if wait, ok := errors.AsType[*client.WaitError](err); ok {
		fmt.Println(wait.Policies, wait.RetryAfter <= time.Second)
	}
	// Output:
	// [burst] true
}

// shop is an API with a quota of five units a second.
func shop() *httptest.Server {
	var sent atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/products", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("RateLimit", fmt.Sprintf(`"burst";r=%d;t=1`, 4-(sent.Add(1)-1)%5))
		fmt.Fprint(w, `{"data":[{"name":"Espresso cups, set of two","price":{"amount":1999,"currency":"EUR"}}]}`)
	})
	mux.HandleFunc("POST /v1/orders", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"title":"Unprocessable Content","status":422,"request_id":"req_7",
			"errors":[{"location":"body","pointer":"/email","code":"email","message":"must be an email address"}]}`)
	})
	return httptest.NewServer(mux)
}
