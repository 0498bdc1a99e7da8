package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/internal/config"
)

// writes records the writes to it.
type writes struct {
	mu  sync.Mutex
	all []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, string(p))
	return len(p), nil
}

// want checks the writes so far, and forgets them.
func (w *writes) want(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if fmt.Sprintf("%q", w.all) != fmt.Sprintf("%q", want) {
		t.Errorf("got writes %.300q; want %.300q", w.all, want)
	}
	w.all = nil
}

func TestLineBuffer(t *testing.T) {
	long := strings.Repeat("x", logBuffer) + "\n"
	for name, test := range map[string]func(t *testing.T, b *lineBuffer, out *writes){
		"the timer flushes": func(t *testing.T, b *lineBuffer, out *writes) {
			for range 3 {
				b.WriteLater([]byte("1\n"))
				time.Sleep(logDelay - time.Nanosecond)
				b.WriteLater([]byte("2\n"))
				out.want(t)
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				out.want(t, "1\n2\n")
				time.Sleep(time.Minute)
				out.want(t)
			}
		},
		"a line that can't wait follows those that do": func(t *testing.T, b *lineBuffer, out *writes) {
			b.WriteLater([]byte("1\n"))
			if n, err := b.Write([]byte("failed\n")); n != 7 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			out.want(t, "1\n", "failed\n")
			b.WriteLater([]byte("2\n"))
			time.Sleep(logDelay)
			synctest.Wait()
			out.want(t, "2\n")
		},
		"a full buffer is written": func(t *testing.T, b *lineBuffer, out *writes) {
			line := strings.Repeat("x", logBuffer/4-1) + "\n"
			for range 4 {
				b.WriteLater([]byte(line))
			}
			out.want(t)
			b.WriteLater([]byte("next\n"))
			out.want(t, strings.Repeat(line, 4))
			time.Sleep(logDelay)
			synctest.Wait()
			out.want(t, "next\n")
		},
		"a line longer than the buffer": func(t *testing.T, b *lineBuffer, out *writes) {
			b.WriteLater([]byte("1\n"))
			b.WriteLater([]byte(long))
			out.want(t, "1\n", long)
			if cap(b.lines) != logBuffer {
				t.Errorf("the buffer has grown to %d bytes", cap(b.lines))
			}
		},
		"the end": func(t *testing.T, b *lineBuffer, out *writes) {
			b.WriteLater([]byte("1\n"))
			b.Close()
			out.want(t, "1\n")
			b.WriteLater([]byte("2\n"))
			out.want(t, "2\n")
			_, _ = b.Write([]byte("stopped\n"))
			out.want(t, "stopped\n")
			b.Close()
			time.Sleep(time.Minute)
			out.want(t)
		},
		"lines are copied": func(t *testing.T, b *lineBuffer, out *writes) {
			line := []byte("1\n")
			b.WriteLater(line)
			line[0] = '2'
			b.Close()
			out.want(t, "1\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &writes{}
				test(t, newLineBuffer(out), out)
			})
		})
	}
}

// Every line arrives whole and once, and those of one goroutine in order, while
// the timer, the size and other lines flush.
func TestLineBuffer_concurrent(t *testing.T) {
	const goroutines, lines = 8, 2000
	var out bytes.Buffer // without a lock of its own
	b := newLineBuffer(&out)
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := range lines {
				line := []byte(fmt.Sprintf("%d %d\n", g, i))
				if i%100 == 99 {
					_, _ = b.Write(line)
				} else {
					b.WriteLater(line)
				}
				if i%500 == 0 {
					b.expire()
				}
			}
		})
	}
	all.Wait()
	b.Close()
	var next [goroutines]int
	for line := range strings.Lines(out.String()) {
		var g, i int
		if n, err := fmt.Sscanf(line, "%d %d\n", &g, &i); n != 2 || err != nil || i != next[g] {
			t.Fatalf("read %q, %v; want line %d of its goroutine", line, err, next[g])
		}
		next[g]++
	}
	if next != [goroutines]int{lines, lines, lines, lines, lines, lines, lines, lines} {
		t.Errorf("got lines %v", next)
	}
}

// Only JSON for programs is buffered, and only by a logger without attributes.
func TestNewLogger_buffered(t *testing.T) {
	type lineWriter interface{ WriteLater(line []byte) }
	json, text := &config.Config{LogFormat: config.LogJSON}, &config.Config{LogFormat: config.LogText}
	var out bytes.Buffer
	log, _, flush := newLogger(&out, json)
	lines, ok := log.Handler().(lineWriter)
	if !ok {
		t.Fatal("JSON isn't buffered")
	}
	lines.WriteLater([]byte("waits\n"))
	if out.Len() > 0 {
		t.Errorf("written at once: %q", out.String())
	}
	log.Info("now")
	lines.WriteLater([]byte("last\n"))
	flush()
	if got := out.String(); !strings.HasPrefix(got, "waits\n{") || !strings.HasSuffix(got, "}\nlast\n") {
		t.Errorf("got %q", got)
	}
	if _, ok := log.With("key", "value").Handler().(lineWriter); ok {
		t.Error("a logger with attributes takes encoded lines")
	}
	log, _, flush = newLogger(&out, text)
	if _, ok := log.Handler().(lineWriter); ok {
		t.Error("text is buffered")
	}
	flush()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal: %v", err)
	}
	defer terminal.Close()
	log, _, flush = newLogger(terminal, json)
	if _, ok := log.Handler().(lineWriter); ok || !log.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("JSON on a terminal is buffered")
	}
	flush()
}
