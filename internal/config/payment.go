package config

import (
	"errors"
	"net/url"

	"ratelimiter/middleware"
)

// PaymentGateway is the gateway that payments go to.
type PaymentGateway string

// The payment gateways.
const (
	GatewayNone     PaymentGateway = ""         // orders aren't accepted
	GatewayDev      PaymentGateway = "built-in" // of dev mode, on OPS_ADDR
	GatewayExternal PaymentGateway = "external" // PAYMENT_URL
)

// PaymentGateway returns where payments go to. Without PAYMENT_URL it is the gateway
// of dev mode, which needs a loopback OPS_ADDR, because anybody who can reach it can
// use it.
func (cfg *Config) PaymentGateway(dev bool) PaymentGateway {
	switch {
	case cfg.PaymentURL != "":
		return GatewayExternal
	case dev && middleware.IsLoopback(cfg.OpsAddr):
		return GatewayDev
	default:
		return GatewayNone
	}
}

// PaymentUnencrypted reports whether others can read what is sent to PAYMENT_URL.
func (cfg *Config) PaymentUnencrypted() bool {
	u, err := url.Parse(cfg.PaymentURL)
	return err == nil && u.Scheme == "http" && !middleware.IsLoopback(u.Host)
}

// checkPaymentURL validates a URL. The error doesn't repeat it, because it may
// contain a password.
func checkPaymentURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must look like https://user:password@gateway.example/path, with user and password if it needs them")
	}
	return nil
}
