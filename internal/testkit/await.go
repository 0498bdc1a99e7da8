package testkit

import (
	"crypto/rand"
	"fmt"
	"net"
	"testing"
	"time"
)

// awaitInterval is the time between two looks. A look is cheap, and what is awaited
// happens in another process or goroutine that sends no signal.
const awaitInterval = 5 * time.Millisecond

// Await polls a condition until it holds, and fails the test after the limit.
func Await(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(awaitInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout after %s: %s", limit, what)
		}
	}
}

// LoopbackAddress returns an address for a server that is restarted on it: nobody
// else gets a port of 127.x.y.z by chance.
func LoopbackAddress(t testing.TB) string {
	t.Helper()
	var random [3]byte
	_, _ = rand.Read(random[:]) // it never fails
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+random[0]%250, random[1], 1+random[2]%250))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
