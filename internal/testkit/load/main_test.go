package main

import (
	"testing"
	"time"
)

func TestOnlyABoundedLoadOnThisMachineIsSent(t *testing.T) {
	good := plan{base: "http://127.0.0.1:8080", lasts: time.Second, cheapRate: 10, heavyRate: 10}
	if err := good.check(); err != nil {
		t.Errorf("a small load: %v", err)
	}
	for what, change := range map[string]func(*plan){
		"elsewhere":        func(p *plan) { p.base = "http://example.com" },
		"nowhere":          func(p *plan) { p.base = "" },
		"a name":           func(p *plan) { p.base = "http://localhost.example.com" },
		"without an end":   func(p *plan) { p.lasts = 0 },
		"too long":         func(p *plan) { p.lasts = time.Hour },
		"too many":         func(p *plan) { p.heavyRate = 1e6 },
		"too many probes":  func(p *plan) { p.cheapRate = 1e6 },
		"too many clients": func(p *plan) { p.clients = 1000 },
	} {
		p := good
		change(&p)
		if p.check() == nil {
			t.Errorf("%s: allowed", what)
		}
	}
}
