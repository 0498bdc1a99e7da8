package middleware

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestProxies_address(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		name, peer string
		forwarded  []string
		want       string // empty: unknown
	}{
		{"no proxy", "203.0.113.9:1", nil, "203.0.113.9"},
		{"an untrusted peer", "203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9"},
		{"a trusted peer", "10.0.0.1:1", []string{"203.0.113.7"}, "203.0.113.7"},
		{"a trusted peer without the field", "10.0.0.1:1", nil, "10.0.0.1"},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.7:51234"}, "203.0.113.7"},
		{"IPv6", "10.0.0.1:1", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "10.0.0.1:1", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 in brackets with a port", "10.0.0.1:1", []string{"[2001:db8::7]:443"}, "2001:db8::7"},
		{"IPv4 mapped to IPv6", "10.0.0.1:1", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{"a chain of proxies", "10.0.0.1:1", []string{"203.0.113.7, 10.0.0.3", "10.0.0.2:80"}, "203.0.113.7"},
		{"a forged first element", "10.0.0.1:1", []string{"127.0.0.1, 203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{"only proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a trusted IPv6 peer", "[fd00::1]:1", []string{"203.0.113.7"}, "203.0.113.7"},
		{"an element that is no address", "10.0.0.1:1", []string{"203.0.113.7, unknown"}, ""},
		{"an obfuscated element", "10.0.0.1:1", []string{"_hidden"}, ""},
		{"an empty element", "10.0.0.1:1", []string{"203.0.113.7,"}, ""},
		{"IPv4 in brackets", "10.0.0.1:1", []string{"[203.0.113.7]"}, ""},
		{"an unclosed bracket", "10.0.0.1:1", []string{"[2001:db8::7"}, ""},
		{"no peer address", "pipe", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.peer
			if test.forwarded != nil {
				r.Header["X-Forwarded-For"] = test.forwarded
			}
			want, _ := netip.ParseAddr(test.want)
			if got := NewProxies(trusted, slog.New(slog.DiscardHandler)).address(r); got != want {
				t.Errorf("got address %v; want %v", got, want)
			}
		})
	}
}

func TestProxies_warns_once(t *testing.T) {
	var log bytes.Buffer
	p := NewProxies(nil, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Forwarded-For", "203.0.113.7")
		p.address(r)
	}
	if strings.Count(log.String(), "TRUSTED_PROXIES") != 1 {
		t.Errorf("got log %s; want one warning", &log)
	}
}

func TestTextOf(t *testing.T) {
	for _, remote := range []string{
		"127.0.0.1:80", "10.0.0.1", "[::1]:80", "::1", "[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", "[fe80::1%eth0]:80", "010.0.0.1:80", "x:80", "", "@",
	} {
		for _, address := range []netip.Addr{parseHost(remote), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::2"), {}} {
			want := "unknown"
			if address.IsValid() {
				want = address.String()
			}
			if got := textOf(address, remote); got != want {
				t.Errorf("%v from %q: got %q; want %q", address, remote, got, want)
			}
		}
	}
}
