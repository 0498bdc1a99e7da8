package postgres

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// serverLog takes what Postgres prints, keeps the end of it and passes lines on to the log. The
// errors of single queries are left to those who sent them, who know more; what a query was and
// what it touched is never passed on, as it may hold personal data.
type serverLog struct {
	log *slog.Logger

	mu      sync.Mutex
	partial []byte
	kept    capture
}

// levels are the first words of the lines that are passed on. FATAL ends one connection, not the
// server: "starting up" is one.
var levels = map[string]slog.Level{
	"LOG": slog.LevelDebug, "FATAL": slog.LevelDebug, "WARNING": slog.LevelWarn, "PANIC": slog.LevelError,
}

// Write takes the next piece of output; it is called by one goroutine and never fails.
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.kept.Write(p)
	l.partial = append(l.partial, p...)
	for {
		line, rest, found := bytes.Cut(l.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.pass(string(line))
		l.partial = rest
	}
}

// pass logs one line of a known level.
func (l *serverLog) pass(line string) {
	word, text, _ := strings.Cut(line, ":")
	if level, known := levels[word]; known {
		l.log.Log(context.Background(), level, "postgres: "+strings.TrimSpace(text))
	}
}

// tail is the end of the output so far.
func (l *serverLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.kept.buf.String())
}
