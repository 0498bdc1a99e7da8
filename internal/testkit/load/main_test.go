package main

import (
	"testing"
	"time"
)

func TestPlan_check(t *testing.T) {
	valid := plan{base: "http://127.0.0.1:8080", duration: time.Second, cheapRate: 10, heavyRate: 10}
	if err := valid.check(); err != nil {
		t.Errorf("check() = %v; want nil", err)
	}
	for name, change := range map[string]func(*plan){
		"another host": func(p *plan) { p.base = "http://example.com" },
		"no host":      func(p *plan) { p.base = "" },
		"host name":    func(p *plan) { p.base = "http://localhost.example.com" },
		"no duration":  func(p *plan) { p.duration = 0 },
		"duration":     func(p *plan) { p.duration = time.Hour },
		"heavy rate":   func(p *plan) { p.heavyRate = 1e6 },
		"cheap rate":   func(p *plan) { p.cheapRate = 1e6 },
		"clients":      func(p *plan) { p.clients = 1000 },
	} {
		p := valid
		change(&p)
		if p.check() == nil {
			t.Errorf("%s: got nil; want an error", name)
		}
	}
}
