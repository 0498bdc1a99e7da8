package models

import (
	"testing"

	"ratelimiter/ratelimit"
)

func TestBoundQueues(t *testing.T) {
	policies := []ratelimit.Policy{{MaxWait: "1h"}, {MaxWait: "150ms"}, {}}
	got := BoundQueues(policies)
	if got[0].MaxWait != "10s" || got[1].MaxWait != "150ms" || got[2].MaxWait != "" {
		t.Errorf("got max_wait %s, %s, %s", got[0].MaxWait, got[1].MaxWait, got[2].MaxWait)
	}
	if policies[0].MaxWait != "1h" {
		t.Error("the argument was changed")
	}
}
