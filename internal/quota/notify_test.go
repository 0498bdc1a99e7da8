package quota

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

func TestChangesThatComeTogetherAreToldTogether(t *testing.T) {
	db := testkit.Database(t)
	l, err := postgres.Listen(t.Context(), db, changesChannel)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := NewNotifier(db, slog.New(slog.DiscardHandler))
	const changed = 1000
	for i := range int64(changed) {
		n.Changed(t.Context(), models.ChangedKey, "k"+strconv.FormatInt(i, 10), 2)
	}
	n.Close() // tells the rest
	n.Changed(t.Context(), models.ChangedKey, "late", 2)
	n.Close()
	told, notifications := 0, 0
	for {
		payload, heard, err := l.Wait(t.Context(), 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if !heard {
			break
		}
		notifications++
		told += len(parsePayload(payload))
	}
	if told != changed || notifications > changed/100 {
		t.Errorf("%d changes were told in %d notifications; want %d in a few", told, notifications, changed)
	}
}

func TestWhatCannotBeToldIsDroppedAndLogged(t *testing.T) {
	db := testkit.Database(t)
	db.Close()
	var log bytes.Buffer
	n := NewNotifier(db, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range int64(maxPending + 10) {
		n.Changed(t.Context(), models.ChangedKey, "k", i)
	}
	for _, id := range []string{"", "with space", "with\nline", strings.Repeat("x", maxPayload)} {
		n.Changed(t.Context(), models.ChangedKey, id, 1)
	}
	n.mu.Lock()
	if len(n.pending) > maxPending {
		t.Errorf("%d changes wait", len(n.pending))
	}
	n.mu.Unlock()
	n.Close()
	if !strings.Contains(log.String(), "not told") {
		t.Errorf("the log says %q", &log)
	}
}
