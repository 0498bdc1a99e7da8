// Package gatewaytest serves the dev payment gateway to tests.
package gatewaytest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/devgateway"
	"ratelimiter/internal/server"
	"ratelimiter/internal/testkit"
)

// Gateway is the dev payment gateway, served as on OPS_ADDR.
type Gateway struct {
	URL string
	*testkit.Client
	t testing.TB
}

// Start serves a gateway whose state is in db until the test ends. wrap may change
// how requests are handled; nil: it doesn't.
func Start(t testing.TB, db *pgxpool.Pool, wrap func(http.Handler) http.Handler) *Gateway {
	t.Helper()
	gateway := devgateway.New(db)
	if err := gateway.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := Serve(t, gateway, wrap)
	t.Cleanup(func() { _ = gateway.Stop(context.Background()) }) // before the server, which waits for requests
	return g
}

// Serve serves a gateway until the test ends.
func Serve(t testing.TB, gateway *devgateway.Gateway, wrap func(http.Handler) http.Handler) *Gateway {
	t.Helper()
	health := handlers.NewHealth(nil) // unused
	handler := server.NewOpsHandler("127.0.0.1:9090", health, http.NotFoundHandler(), slog.New(slog.DiscardHandler), gateway.Routes)
	if wrap != nil {
		handler = wrap(handler)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	url := s.URL + devgateway.Path
	return &Gateway{url, testkit.NewClient(t, url).Undescribed("it is not the API"), t}
}

// Line is a line of the ledger.
type Line struct {
	ID       string `json:"id"`
	OrderID  string `json:"order_id"`
	Kind     string `json:"kind"`
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	At       string `json:"at"`
}

// Ledger returns the whole ledger, oldest line first.
func (g *Gateway) Ledger() []Line {
	g.t.Helper()
	var ledger struct{ Data []Line }
	if err := json.Unmarshal(g.Get("/ledger").Want(http.StatusOK).Body, &ledger); err != nil {
		g.t.Fatal(err)
	}
	return ledger.Data
}

// Kinds returns the kinds of an order's lines in the ledger, oldest first.
func (g *Gateway) Kinds(orderID string) []string {
	g.t.Helper()
	kinds := []string{}
	for _, line := range g.Ledger() {
		if line.OrderID == orderID {
			kinds = append(kinds, line.Kind)
		}
	}
	return kinds
}
