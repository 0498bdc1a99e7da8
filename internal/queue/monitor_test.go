package queue

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A growth is one warning, however many messages and reads it takes.
func TestMonitor_warns_once_per_growth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		dead, reads := []int64{7, 7, 8, 300, 1000, 1000, 0, 1}, 0
		m := &Monitor{log: slog.New(slog.NewTextHandler(&log, nil)), read: func(context.Context) ([]GroupStats, error) {
			reads++
			return []GroupStats{{Group: "payment", Dead: dead[min(reads, len(dead))-1]}, {Group: "email"}}, nil
		}}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(len(dead)+2) * monitorInterval)
		if err := m.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if text := log.String(); strings.Count(text, "level=WARN") != 2 ||
			!strings.Contains(text, "dead letters grow\" group=payment before=7 now=8") || !strings.Contains(text, "group=payment before=0 now=1") {
			t.Errorf("got log\n%s; want one warning for 7 to 1000, and one for 0 to 1", text)
		}
		before := reads
		time.Sleep(time.Hour)
		if reads != before {
			t.Error("it reads after Stop")
		}
	})
}

// While Postgres is down, the last numbers are reported for a minute.
func TestMonitor_outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		m := &Monitor{log: slog.New(slog.DiscardHandler), read: func(ctx context.Context) ([]GroupStats, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the read has no deadline")
			}
			if down.Load() {
				return nil, errors.New("no connection")
			}
			return []GroupStats{{Group: "payment", Ready: 3}}, nil
		}}
		if m.Stats() != nil {
			t.Error("got numbers before the first read")
		}
		_ = m.Start(t.Context())
		synctest.Wait()
		down.Store(true)
		time.Sleep(monitorLimit - time.Second)
		if stats := m.Stats(); len(stats) != 1 || stats[0].Ready != 3 {
			t.Errorf("got %+v; want the last numbers", stats)
		}
		time.Sleep(2 * time.Second)
		if stats := m.Stats(); stats != nil {
			t.Errorf("got %+v after a minute; want none", stats)
		}
		_ = m.Stop(t.Context())
	})
}
