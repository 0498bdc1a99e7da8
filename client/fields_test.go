package client

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestReportsOf(t *testing.T) {
	const huge = 10 * 366 * 24 * time.Hour
	for _, test := range []struct {
		name          string
		limit, policy []string
		want          map[string]report
	}{
		{name: "absent"},
		{
			name:  "several_policies",
			limit: []string{`"burst";r=19;t=1, "monthly";r=9999;t=1209600`}, policy: []string{`"burst";q=20;w=2, "monthly";q=10000`},
			want: map[string]report{
				"burst":   {remaining: 19, reset: time.Second, quota: 20, window: 2 * time.Second},
				"monthly": {remaining: 9999, reset: 14 * 24 * time.Hour, quota: 10000},
			},
		},
		{
			name: "several_lines", limit: []string{`"a";r=1;t=1`, `"b";r=2;t=0`},
			want: map[string]report{"a": {remaining: 1, reset: time.Second, quota: -1}, "b": {remaining: 2, quota: -1}},
		},
		{
			name: "concurrency", limit: []string{`"parallel";r=7`}, policy: []string{`"parallel";q=8;qu="concurrent-requests"`},
			want: map[string]report{"parallel": {remaining: 7, slots: true, quota: 8}},
		},
		{name: "malformed", limit: []string{`"a";r=1;t=1, b c`}},
		{
			name:  "malformed_members",
			limit: []string{`"ok";r=1;t=1, token;r=1, "no-r";t=1, "text";r="1", "negative";r=-1, "fraction";r=1.5, ("list");r=1, "bad-t";r=1;t=x`},
			want:  map[string]report{"ok": {remaining: 1, reset: time.Second, quota: -1}, "bad-t": {remaining: 1, slots: true, quota: -1}},
		},
		{name: "malformed_policy", limit: []string{`"a";r=1;t=1`}, policy: []string{"?"}, want: map[string]report{"a": {remaining: 1, reset: time.Second, quota: -1}}},
		{
			name: "huge", limit: []string{`"a";r=999999999999999;t=999999999999999`}, policy: []string{`"a";q=0;w=999999999999999`},
			want: map[string]report{"a": {remaining: 999999999999999, reset: huge, window: huge}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Ratelimit": test.limit, "Ratelimit-Policy": test.policy}
			if got := reportsOf(header); !maps.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestReportsOf_bounded(t *testing.T) {
	var items []string
	for i := range 1000 {
		items = append(items, fmt.Sprintf(`"p%d";r=1;t=1`, i))
	}
	if got := reportsOf(http.Header{"Ratelimit": {strings.Join(items, ", ")}}); len(got) != maxPolicies {
		t.Errorf("%d reports", len(got))
	}
}

func TestOperationOf(t *testing.T) {
	for _, test := range []struct {
		method, path, group string
		cost                int64
	}{
		{"GET", "/v1/products", "products:read", 1},
		{"HEAD", "/v1/products", "products:read", 1},
		{"GET", "/v1/products/a%2Fb", "products:read", 1},
		{"POST", "/v1/orders", "orders:write", 5},
		{"GET", "/v1/orders/ord_1/invoice", "orders:read", 10},
		{"GET", "/v1/orders/ord_1/unknown", "", 0},
		{"DELETE", "/v1/products", "", 0},
		{"GET", "/livez", "", 0},
	} {
		if op := operationOf(test.method, test.path); op.group != test.group || op.cost != test.cost {
			t.Errorf("%s %s: got %+v", test.method, test.path, op)
		}
	}
}

func TestTransport_below(t *testing.T) {
	for _, base := range []string{"http://api.test", "http://api.test/", "http://api.test/base", "http://api.test/base/"} {
		transport, err := NewTransport(base, "key", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := transport.below(transport.server.JoinPath("v1", "orders")); got != "/v1/orders" {
			t.Errorf("%s: got %s", base, got)
		}
	}
}
