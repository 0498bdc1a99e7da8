package devdb

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// screen returns the lines that a terminal shows in the end, and every version of
// them.
func screen(written string) (lines, versions []string) {
	for line := range strings.SplitSeq(strings.TrimSuffix(written, "\n"), "\n") {
		parts := strings.Split(line, "\r\x1b[K")
		versions = append(versions, parts[1:]...)
		lines = append(lines, parts[len(parts)-1])
	}
	return lines, versions
}

func TestStep_terminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, log bytes.Buffer
		c := console{log: slog.New(slog.NewTextHandler(&log, nil)), terminal: &out}
		s := c.begin("creating a private Postgres 15", "1 to 10 s", "folder", "/data")
		time.Sleep(3200 * time.Millisecond)
		s.end(nil)
		s = c.begin("downloading Postgres 18", "5 to 60 s")
		s.total.Store(20_000_000)
		for range 4 {
			time.Sleep(time.Second)
			_, _ = s.Write(make([]byte, 4_000_000))
		}
		s.end(errors.New("connection reset"))
		lines, versions := screen(out.String())
		want := []string{"Creating a private Postgres 15: done in 3 s", "Downloading Postgres 18: 16.0 of 20.0 MB, 80 %, failed after 4 s"}
		if strings.Join(lines, "|") != strings.Join(want, "|") || log.Len() > 0 {
			t.Errorf("got lines %q, log %q; want %q", lines, log.String(), want)
		}
		all := strings.Join(versions, "|")
		for _, part := range []string{
			"Creating a private Postgres 15 (usually takes 1 to 10 s): 0 s|", "(usually takes 1 to 10 s): 2 s|",
			"Downloading Postgres 18 (usually takes 5 to 60 s): 4.0 of 20.0 MB, 20 %, 1 s|",
		} {
			if !strings.Contains(all, part) {
				t.Errorf("%q is missing in %q", part, versions)
			}
		}
	})
}

func TestStep_log(t *testing.T) {
	var log bytes.Buffer
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	s := console{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: noTime}))}.begin("downloading", "5 s", "url", "u")
	_, _ = s.Write(make([]byte, 10)) // of an unknown size
	s.done.Store(0)
	s.total.Store(20_000_000)
	for range 20 {
		_, _ = s.Write(make([]byte, 1_000_000))
	}
	s.end(nil)
	want := `level=INFO msg=downloading url=u usually_takes="5 s"
level=INFO msg=downloading downloaded="5.0 of 20.0 MB, 25 %"
level=INFO msg=downloading downloaded="10.0 of 20.0 MB, 50 %"
level=INFO msg=downloading downloaded="15.0 of 20.0 MB, 75 %"
level=INFO msg=downloading downloaded="20.0 of 20.0 MB, 100 %"
`
	if log.String() != want {
		t.Errorf("got\n%s\nwant\n%s", log.String(), want)
	}
}
