package e2e

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oapi-codegen/nullable"

	"ratelimiter/client"
	"ratelimiter/models"
)

// cuttingProxy is a proxy that cuts the connection of as many POST requests as
// cuts says, after the server has responded.
func cuttingProxy(t *testing.T, base string, cuts *atomic.Int64) *httptest.Server {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodPost && cuts.Add(-1) >= 0 {
				panic(http.ErrAbortHandler)
			}
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server
}

func TestClient_LostResponse_orderPlacedOnce(t *testing.T) {
	for name, test := range map[string]struct {
		cuts  int64
		calls int // until one has a response
	}{
		"retried_by_client": {cuts: 2, calls: 1},
		"retried_by_caller": {cuts: 3, calls: 2},
	} {
		t.Run(name, func(t *testing.T) {
			app := newApp(t)
			var cuts atomic.Int64
			cuts.Store(test.cuts)
			base := &http.Transport{DisableKeepAlives: true} // it would retry on a reused connection itself
			key := app.key(models.NewKey{Plan: "internal", Owner: "o"})
			c, err := client.New(cuttingProxy(t, app.Base(), &cuts).URL, key, &client.Options{MaxAttempts: 3, Base: base})
			if err != nil {
				t.Fatal(err)
			}
			params := &client.CreateOrderParams{}
			for call := 1; ; call++ {
				placed, err := c.CreateOrder(t.Context(), params, oneProduct)
				var unanswered *client.UnansweredError
				if errors.As(err, &unanswered) && unanswered.IdempotencyKey != "" && call < test.calls {
					params.IdempotencyKey = &unanswered.IdempotencyKey
					continue
				}
				if err != nil || placed.ID == "" || call != test.calls {
					t.Fatalf("call %d: %v", call, err)
				}
				break
			}
			if left, n := cuts.Load(), app.ordersOf("o"); left >= 0 || n != 1 {
				t.Errorf("%d orders placed, %d connections not cut", n, left+1)
			}
		})
	}
}

func TestClient_Patch(t *testing.T) {
	app := newApp(t)
	c, err := client.New(app.Base(), app.key(models.NewKey{Admin: true}), nil)
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	key, err := c.CreateKey(t.Context(), client.CreateKeyRequest{Name: "k", Plan: new("free"), ExpiresAt: &soon, Metadata: &map[string]string{"a": "1", "b": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	later := soon.Add(time.Hour)
	for _, step := range []struct {
		name    string
		patch   client.UpdateKeyRequest
		expires *time.Time
	}{
		{name: "absent", patch: client.UpdateKeyRequest{Name: new("other")}, expires: &soon},
		{name: "value", patch: client.UpdateKeyRequest{ExpiresAt: nullable.NewNullableWithValue(later)}, expires: &later},
		{name: "null", patch: client.UpdateKeyRequest{ExpiresAt: nullable.NewNullNullable[time.Time]()}},
	} {
		got, err := c.UpdateKey(t.Context(), key.ID, nil, step.patch)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if (got.ExpiresAt == nil) != (step.expires == nil) || step.expires != nil && !got.ExpiresAt.Equal(*step.expires) {
			t.Errorf("%s: expires at %v, want %v", step.name, got.ExpiresAt, step.expires)
		}
		if got.Name != "other" || len(got.Metadata) != 2 {
			t.Errorf("%s: the patch changed the name to %q or the metadata to %v", step.name, got.Name, got.Metadata)
		}
	}
}
