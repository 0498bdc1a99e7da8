package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// BenchmarkWebSocket_idle measures the resident memory of a server process, from
// /proc, for each idle WebSocket: without any and, after 100 were open, with 5,000 of as
// many orders' worth of waiting on one owner's feed; at once, and after three minutes,
// in which the runtime has collected garbage by itself. The kernel's buffers don't
// count.
func BenchmarkWebSocket_idle(b *testing.B) {
	const open = 5000
	database := testkit.DatabaseURL(b)
	app := newApp(b, onDatabase(database))
	key := app.key(models.NewKey{Plan: "internal", Scopes: []models.Scope{models.ScopeOrdersRead}})
	server := serveProcess(b, "DATABASE_URL="+database, "KEY_PEPPER="+testPepper, "DATA_DIR="+b.TempDir(), "LOG_LEVEL=warn")
	caller := testkit.NewClient(b, server.Base()).As(key)
	for b.Loop() {
		for range 100 {
			conn, _ := caller.Dial("/v1/events/ws")
			_ = conn.CloseNow()
		}
		time.Sleep(time.Second)
		before := residentMemory(b, server.cmd.Process.Pid)
		for range open {
			dialRaw(b, server.Base(), "/v1/events/ws", key, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
		}
		each := func(name string) {
			b.ReportMetric(float64(residentMemory(b, server.cmd.Process.Pid)-before)/open/1024, name)
		}
		each("KiB-at-once")
		time.Sleep(3 * time.Minute)
		each("KiB-later")
	}
	b.ReportMetric(0, "ns/op")
}

// residentMemory returns the resident memory of a process, in bytes.
func residentMemory(tb testing.TB, pid int) int64 {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return kilobytes << 10
}
