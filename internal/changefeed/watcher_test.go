package changefeed

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// witness is a subscriber that notes when it was called, and what the last read was then.
type witness struct {
	w            *Watcher
	at, lastRead time.Time
	calls        int
}

func (o *witness) note() { o.at, o.lastRead, o.calls = time.Now(), o.w.LastRead(), o.calls+1 }

func (o *witness) Invalidate(models.ChangeEvent) { o.note() }
func (o *witness) InvalidateAll()                { o.note() }
func (o *witness) Apply(string, int64, bool)     {}

// TestWatcher_LastRead checks that everything that was changed before the last read
// has been invalidated: caches take what else they have for current as of then.
func TestWatcher_LastRead(t *testing.T) {
	db := testkit.Database(t)
	conn, err := postgres.Listen(t.Context(), db, channel)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	o := &witness{}
	o.w = NewWatcher(db, slog.New(slog.DiscardHandler), o, &Publisher{}, nil, o)
	var last time.Time
	for calls := range 3 {
		if _, err := db.Exec(t.Context(), `UPDATE plans SET description = description || '.', version = version + 1 WHERE name = 'free'`); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if err := o.w.read(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if o.calls != calls+1 || !o.lastRead.Equal(last) {
			t.Errorf("%d invalidations, and during the last one the last read was at %v; want %d, %v", o.calls, o.lastRead, calls+1, last)
		}
		if last = o.w.LastRead(); last.Before(before) || !last.Before(o.at) {
			t.Errorf("the last read is at %v; want the start of the read, from %v on and before %v", last, before, o.at)
		}
	}
	conn.Close()
	if err := o.w.read(t.Context(), conn); err == nil || !o.w.LastRead().Equal(last) {
		t.Errorf("error %v, and the last read at %v; want an error and %v", err, o.w.LastRead(), last)
	}
}

func TestWatcher_Current(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Watcher{}
		if w.Current() {
			t.Error("current before the first read")
		}
		now := time.Now()
		w.readAt.Store(&now)
		time.Sleep(pollInterval + readTimeout)
		if !w.Current() {
			t.Error("not current while the next read may succeed")
		}
		time.Sleep(pollInterval)
		if w.Current() {
			t.Error("current without further reads")
		}
	})
}
