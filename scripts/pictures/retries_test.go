package main

import (
	"encoding/xml"
	"os"
	"strings"
	"testing"
)

// The page about retries has the results of both simulations.
func TestRetries(t *testing.T) {
	page, err := os.ReadFile("../../docs/concepts/retries.md")
	if err != nil {
		t.Fatal(err)
	}
	without, with := retries(false), retries(true)
	for _, r := range []*retried{without, with} {
		if r.done+r.dead != failing {
			t.Errorf("%s: want all %d messages", r.summary(), failing)
		}
		if !strings.Contains(strings.Join(strings.Fields(string(page)), " "), r.summary()) {
			t.Errorf("the page doesn't say %q", r.summary())
		}
	}
	if without.dead < failing/2 || with.dead != 0 {
		t.Errorf("%s; %s", without.summary(), with.summary())
	}
	if err := xml.Unmarshal(drawRetries(without, with), new(struct{})); err != nil {
		t.Error(err)
	}
}
