package cli

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

// Bounds of what a process that is killed loses of its log.
const (
	// logDelay is how long a line waits at most.
	logDelay = 100 * time.Millisecond
	// logBuffer is how many bytes wait at most. Linux doesn't mix a write of up to
	// 4,096 bytes to a pipe with those of other processes (PIPE_BUF).
	logBuffer = 4096
)

// lineBuffer writes lines to an io.Writer. Those of WriteLater wait for each other,
// so that a busy server doesn't make a system call for every request. Lines are
// written in the order of the calls, and never in part. It is safe for concurrent
// use; like a file, it blocks while out does. Errors of delayed writes are lost, as
// slog ignores errors too.
type lineBuffer struct {
	out io.Writer

	mu    sync.Mutex
	lines []byte      // that wait
	timer *time.Timer // flushes; nil until a line waits
	armed bool        // the timer runs
	ended bool        // Close was called
}

func newLineBuffer(out io.Writer) *lineBuffer {
	return &lineBuffer{out: out, lines: make([]byte, 0, logBuffer)}
}

// Write writes a line at once, after those that wait.
func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
	return b.out.Write(line)
}

// WriteLater writes a line within logDelay. It doesn't keep line.
func (b *lineBuffer) WriteLater(line []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines)+len(line) > logBuffer {
		b.flush()
	}
	if b.ended || len(line) > logBuffer {
		_, _ = b.out.Write(line)
		return
	}
	b.lines = append(b.lines, line...)
	switch {
	case b.armed:
	case b.timer == nil:
		b.timer = time.AfterFunc(logDelay, b.expire)
	default:
		b.timer.Reset(logDelay)
	}
	b.armed = true
}

// Close writes what waits. Later lines are written at once.
func (b *lineBuffer) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
	b.ended = true
	if b.timer != nil {
		b.timer.Stop()
	}
}

// expire is called by the timer, which runs once per logDelay at most, however
// often others flush in between.
func (b *lineBuffer) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed = false
	b.flush()
}

// flush writes what waits.
func (b *lineBuffer) flush() {
	if len(b.lines) > 0 {
		_, _ = b.out.Write(b.lines)
		b.lines = b.lines[:0]
	}
}

// jsonHandler writes log lines in JSON. It is a middleware.LineWriter for the lines
// that middleware.Log encodes. A logger with attributes of its own isn't: its
// handler is the slog.Handler.
type jsonHandler struct {
	slog.Handler
	*lineBuffer
}
