package memory_test

import (
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
	"ratelimiter/ratelimit/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T, func() time.Time) ratelimit.Store { return memory.New() })
}

func TestLinearizable(t *testing.T) {
	storetest.RunLinearizable(t, func(*testing.T, func() time.Time) ratelimit.Store { return memory.New() })
}
