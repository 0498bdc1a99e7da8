package devdb

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// progressInterval is the time between updates of a line on a terminal.
const progressInterval = 500 * time.Millisecond

// console is where people see what they wait for: one line on a terminal, which
// is updated in place, or lines of the log if terminal is nil.
type console struct {
	log      *slog.Logger
	terminal io.Writer
}

// step is one action that takes seconds or minutes. It implements io.Writer for
// the bytes of a download.
type step struct {
	console
	what, usually string
	began         time.Time
	total         atomic.Int64 // bytes of a download; 0 or less: unknown
	done          atomic.Int64 // bytes
	stop          chan struct{}
	updates       sync.WaitGroup
}

// begin shows a step and how long it usually takes. attrs are for the log. The
// caller must call end.
func (c console) begin(what, usually string, attrs ...any) *step {
	s := &step{console: c, what: what, usually: usually, began: time.Now(), stop: make(chan struct{})}
	if c.terminal == nil {
		c.log.Info(what, append(attrs, "usually_takes", usually)...)
		return s
	}
	s.show("")
	s.updates.Go(func() {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.show("")
			case <-s.stop:
				return
			}
		}
	})
	return s
}

// end shows how the step ended.
func (s *step) end(err error) {
	close(s.stop)
	s.updates.Wait()
	if s.terminal == nil {
		return // what follows in the log shows it
	}
	ended := "done in "
	if err != nil {
		ended = "failed after "
	}
	s.show(ended)
	fmt.Fprintln(s.terminal)
}

// show writes the line over its earlier version. ended precedes the time; empty:
// the step runs.
func (s *step) show(ended string) {
	line := strings.ToUpper(s.what[:1]) + s.what[1:]
	if ended == "" {
		line += " (usually takes " + s.usually + ")"
	}
	if done := s.done.Load(); done > 0 {
		ended = s.megabytes(done) + ", " + ended
	}
	fmt.Fprintf(s.terminal, "\r\x1b[K%s: %s%d s", line, ended, int(time.Since(s.began).Seconds()))
}

func (s *step) megabytes(done int64) string {
	const megabyte = 1e6
	total := s.total.Load()
	if total <= 0 {
		return fmt.Sprintf("%.1f MB", float64(done)/megabyte)
	}
	return fmt.Sprintf("%.1f of %.1f MB, %d %%", float64(done)/megabyte, float64(total)/megabyte, 100*done/total)
}

// Write counts bytes of a download. The log gets a line for each quarter.
func (s *step) Write(p []byte) (int, error) {
	n := int64(len(p))
	after, total := s.done.Add(n), s.total.Load()
	if s.terminal == nil && total > 0 && 4*after/total > 4*(after-n)/total {
		s.log.Info(s.what, "downloaded", s.megabytes(after))
	}
	return len(p), nil
}
