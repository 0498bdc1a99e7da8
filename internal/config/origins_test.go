package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseOrigins(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "[]",
		"*":                             "[*]",
		"https://shop.example":          "[https://shop.example]",
		"http://localhost:3000":         "[http://localhost:3000]",
		"https://a.example, http://b":   "[https://a.example http://b]",
		"https://[::1]:8443":            "[https://[::1]:8443]",
		"https://xn--bcher-kva.example": "[https://xn--bcher-kva.example]",
	} {
		if got, err := parseOrigins(text); fmt.Sprint(got) != want || err != nil {
			t.Errorf("parseOrigins(%q) = %v, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"https://shop.example/":     "must be an origin",
		"https://shop.example/a":    "must be an origin",
		"https://u:p@shop.example":  "must be an origin",
		"shop.example":              "must be an origin",
		"null":                      "must be an origin",
		"ftp://shop.example":        "must be an origin",
		"https://":                  "must be an origin",
		"https://*.shop.example":    "must name one host",
		"https://bücher.example":    "must name one host",
		"https://Shop.example":      "lower case",
		"HTTPS://shop.example":      "lower case",
		"https://shop.example:443":  "omit the port",
		"http://shop.example:80":    "omit the port",
		"http://shop.example:":      "no port",
		"http://shop.example:0":     "no port",
		"http://shop.example:65536": "no port",
		"http://shop.example:08080": "no port",
		"*,https://shop.example":    "only entry",
	} {
		if _, err := parseOrigins(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseOrigins(%q): got error %v; want %q", text, err, want)
		}
	}
	_, err := parseOrigins("null,https://shop.example,ftp://x")
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "null") || !strings.Contains(err.Error(), "ftp://x") {
		t.Errorf("got error %v; want all faults", err)
	}
	cfg := Settings{HTTPAddr: ":1", OpsAddr: ":2", DataDir: ".", CacheKeys: "1000", CacheTTL: "1m", CacheStale: "1m", Headers: "draft11", Origins: "x"}
	if _, err := cfg.Config(); err == nil || !strings.Contains(err.Error(), "CORS_ORIGINS: ") {
		t.Errorf("got error %v; want it to name CORS_ORIGINS", err)
	}
}
