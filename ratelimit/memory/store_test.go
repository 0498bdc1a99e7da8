package memory_test

import (
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
	"ratelimiter/ratelimit/storetest"
)

func TestStore_Conformance(t *testing.T) {
	storetest.Run(t, func(*testing.T, func() time.Time) ratelimit.Store { return memory.New() })
}

func TestStore_Linearizable(t *testing.T) {
	storetest.RunLinearizable(t, func(*testing.T, func() time.Time) ratelimit.Store { return memory.New() })
}
