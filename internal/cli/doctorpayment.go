package cli

import (
	"context"
	"errors"
	"log/slog"

	"ratelimiter/internal/config"
	"ratelimiter/internal/workers"
)

// checkPayment never fails: serve starts without a payment gateway.
func (d *diagnosis) checkPayment(ctx context.Context) finding {
	switch d.cfg.PaymentGateway(d.dev) {
	case config.GatewayDev:
		return passed("the built-in gateway of dev mode, on OPS_ADDR")
	case config.GatewayNone:
		const set = "Set PAYMENT_URL, or PAYMENT_URL_FILE to a file that contains it, to the URL of the payment gateway."
		if d.dev {
			return warning("OPS_ADDR isn't a loopback address, which the built-in gateway needs: orders are refused, 503 payments_unavailable",
				"Set OPS_ADDR to 127.0.0.1:9090, or PAYMENT_URL.")
		}
		return warning("PAYMENT_URL is not set: orders are refused, 503 payments_unavailable", set)
	case config.GatewayExternal:
	}
	gateway := workers.NewGateway(func() string { return d.cfg.PaymentURL }, slog.New(slog.DiscardHandler), func(string, string) {})
	defer func() { _ = gateway.Stop(ctx) }()
	_, err := gateway.Find(ctx, "doctor")
	switch {
	case err != nil && !errors.Is(err, workers.ErrNoAuthorization):
		return warning("PAYMENT_URL: "+oneLine(err), "Orders are accepted and wait until it answers. Check host, port, path, account and firewall.")
	case d.cfg.PaymentUnencrypted():
		return warning("PAYMENT_URL: payment tokens are sent over the network without encryption", "Use https.")
	default:
		return passed("the gateway of PAYMENT_URL answers")
	}
}
