package e2e

import (
	"net/http"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// Without a payment gateway no order is accepted, and nothing else changes.
func TestPayments_unavailable(t *testing.T) {
	for name, ops := range map[string]string{"not in dev mode": "127.0.0.1:0", "an open OPS_ADDR": ":0"} {
		t.Run(name, func(t *testing.T) {
			app := newApp(t, func(o *appOptions) {
				o.config.PaymentURL, o.config.OpsAddr, o.Dev = "", ops, ops == ":0"
				o.config.DataDir = t.TempDir()
			})
			caller := app.caller("internal", models.ScopeOrdersRead, models.ScopeOrdersWrite)
			r := caller.Post("/v1/orders", order1, "Idempotency-Key", "k").Want(http.StatusServiceUnavailable)
			if !strings.Contains(string(r.Body), `"code":"payments_unavailable"`) || !strings.Contains(string(r.Body), "PAYMENT_URL") || r.Header.Get("Retry-After") == "" {
				t.Errorf("got %s, header %v", r.Body, r.Header)
			}
			caller.Get("/v1/orders").Want(http.StatusOK)
			caller.Post("/v1/orders", `{}`).Want(http.StatusUnprocessableEntity)
			ops := testkit.NewClient(t, "http://"+app.app.OpsAddr().String()).Undescribed("the ops address")
			ops.Get("/dev/gateway/ledger").Want(http.StatusNotFound)
			if !strings.Contains(app.log.String(), "orders are not accepted") {
				t.Error("the log has no warning")
			}
		})
	}
}

func TestDoctor_payment(t *testing.T) {
	gateway := newOrderShop(t) // with the gateway of dev mode
	url := "http://" + gateway.app.OpsAddr().String() + "/dev/gateway"
	base := []string{"DATABASE_URL=" + testkit.DatabaseURL(t), "KEY_PEPPER=" + testPepper}
	for want, env := range map[string][]string{
		"warning: PAYMENT_URL is not set: orders are refused":                        nil,
		"ok: the built-in gateway":                                                   {"RATELIMITER_DEV=true"},
		"warning: OPS_ADDR isn't a loopback":                                         {"RATELIMITER_DEV=true", "OPS_ADDR=:0"},
		"ok: the gateway of PAYMENT_URL answers":                                     {"PAYMENT_URL=" + url},
		"warning: PAYMENT_URL: payment gateway, find: the gateway answered 404":      {"PAYMENT_URL=" + url + "/none"},
		"warning: PAYMENT_URL: payment gateway, find: dial tcp 127.0.0.1:1: connect": {"PAYMENT_URL=http://u:hunter2@127.0.0.1:1"},
	} {
		doctor(t, 0, append(base, env...)...).wants(t, map[string]string{"payment": want})
	}
}
