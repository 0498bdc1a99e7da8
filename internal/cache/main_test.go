package cache

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine has an end.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
