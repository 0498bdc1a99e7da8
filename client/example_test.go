package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ratelimiter/client"
)

// A client is made once for a key, and used by as many goroutines as you like.
func ExampleNew() {
	api := shop("1s")
	defer api.Close()

	c, err := client.New(api.URL, "rl_live_…", client.WithUserAgent("checkout/1.4"))
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

// What the API refuses is a *Problem, with every fault of the input.
func ExampleProblem() {
	api := shop("1s")
	defer api.Close()
	c, err := client.New(api.URL, "rl_live_…")
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = c.CreateOrder(context.Background(), nil, client.CreateOrder{Email: "nobody"})
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

// Requests go as fast as the quota allows and no faster: here 5 at once and then
// one each 20 ms, whoever sends them.
func ExampleClient_ListProducts() {
	api := shop("1s")
	defer api.Close()
	c, err := client.New(api.URL, "rl_live_…")
	if err != nil {
		fmt.Println(err)
		return
	}

	var all sync.WaitGroup
	var done atomic.Int64
	for range 3 {
		all.Go(func() {
			for range 5 {
				if _, err := c.ListProducts(context.Background(), nil); err != nil {
					fmt.Println(err)
					continue
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	fmt.Println(done.Load(), "answers, none refused")
	// Output:
	// 15 answers, none refused
}

// A request that would have to wait for too long isn't sent.
func ExampleWaitError() {
	api := shop("1h")
	defer api.Close()
	c, err := client.New(api.URL, "rl_live_…", client.WithLongestWait(time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}

	for range 6 { // there is room for 5 at once
		_, err = c.ListProducts(context.Background(), nil)
	}
	if wait, ok := errors.AsType[*client.WaitError](err); ok {
		fmt.Println("come back later:", strings.Join(wait.Policies, ", "), wait.RetryAfter.Round(time.Minute))
	}
	// Output:
	// come back later: burst 1m0s
}

// shop answers as the API does, for a key of 50 units a period and 5 at once.
func shop(period string) *httptest.Server {
	policy := `{"name":"burst","algorithm":"token_bucket","limit":50,"period":"` + period + `","burst":5}`
	mux := http.NewServeMux()
	answer := func(pattern string, status int, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if status >= http.StatusBadRequest {
				w.Header().Set("Content-Type", "application/problem+json")
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	answer("GET /v1/me", http.StatusOK, `{"quota":[`+policy+`]}`)
	answer("GET /v1/me/limits", http.StatusOK, `{"data":[{"policy":"burst","algorithm":"token_bucket","limit":5,"remaining":5,"reset_after":0,"mode":"enforce"}]}`)
	answer("GET /v1/products", http.StatusOK, `{"data":[{"name":"Espresso cups, set of two","price":{"amount":1999,"currency":"EUR"}}]}`)
	answer("POST /v1/orders", http.StatusUnprocessableEntity, `{"title":"Unprocessable Content","status":422,"request_id":"req_7",
		"errors":[{"location":"body","pointer":"/email","code":"email","message":"must be an email address"}]}`)
	return httptest.NewServer(mux)
}
