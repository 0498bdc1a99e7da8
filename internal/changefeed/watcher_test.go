package changefeed

import (
	"testing"
	"testing/synctest"
	"time"
)

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
