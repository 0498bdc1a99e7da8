package config

import (
	"strings"
	"testing"
)

func TestSettings_payment(t *testing.T) {
	for url, valid := range map[string]bool{
		"": true, "https://u:hunter2@pay.example/v1": true, "http://127.0.0.1:9090/dev/gateway/": true,
		"pay.example": false, "ftp://u:hunter2@pay.example": false, "https://": false, "https://:443": false, "https://u:hunter2@pay.example/?a=b": false, "https://u:hunter2@%zz": false,
	} {
		t.Setenv("PAYMENT_URL", url)
		s := settings()
		cfg, err := s.Config()
		if (err == nil) != valid || err != nil && (!strings.Contains(err.Error(), "PAYMENT_URL: must look like") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: got error %v; want valid = %v", url, err, valid)
		}
		if err == nil && cfg.PaymentURL != strings.TrimSuffix(url, "/") {
			t.Errorf("%s: got %s", url, cfg.PaymentURL)
		}
	}
}

func TestConfig_PaymentGateway(t *testing.T) {
	const external = "https://pay.example"
	for _, test := range []struct {
		url, ops    string
		dev         bool
		want        PaymentGateway
		unencrypted bool
	}{
		{"", "127.0.0.1:9090", true, GatewayDev, false},
		{"", "[::1]:0", true, GatewayDev, false},
		{"", "127.0.0.1:9090", false, GatewayNone, false},
		{"", ":9090", true, GatewayNone, false},
		{external, "127.0.0.1:9090", true, GatewayExternal, false},
		{external, ":9090", false, GatewayExternal, false},
		{"http://pay.example", ":9090", false, GatewayExternal, true},
		{"http://localhost:1", ":9090", false, GatewayExternal, false},
	} {
		cfg := &Config{PaymentURL: test.url, OpsAddr: test.ops}
		if got := cfg.PaymentGateway(test.dev); got != test.want || cfg.PaymentUnencrypted() != test.unencrypted {
			t.Errorf("%+v: got %q, unencrypted %v", test, got, cfg.PaymentUnencrypted())
		}
	}
}
