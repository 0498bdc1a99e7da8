package changefeed

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

func TestPublisher_batches_events(t *testing.T) {
	db := testkit.Database(t)
	conn, err := postgres.Listen(t.Context(), db, channel)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := NewPublisher(db, slog.New(slog.DiscardHandler))
	_ = p.Start(t.Context())
	const published = 1000
	for i := range int64(published) {
		p.Publish(models.ChangeEvent{Kind: models.ChangedKey, ID: "k" + strconv.FormatInt(i, 10), Version: 2})
	}
	_ = p.Stop(t.Context()) // sends the rest
	p.Publish(models.ChangeEvent{Kind: models.ChangedKey, ID: "late", Version: 2})
	received, notifications := 0, 0
	for {
		payload, notified, err := conn.Wait(t.Context(), 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if !notified {
			break
		}
		notifications++
		received += len(parsePayload(payload))
	}
	if received != published || notifications > published/100 {
		t.Errorf("received %d events in %d notifications; want %d in a few", received, notifications, published)
	}
}

func TestPublisher_drops_and_logs(t *testing.T) {
	db := testkit.Database(t)
	db.Close()
	var log bytes.Buffer
	p := NewPublisher(db, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range int64(maxPending + 10) {
		p.Publish(models.ChangeEvent{Kind: models.ChangedKey, ID: "k", Version: i})
	}
	for _, id := range []string{"", "with space", "with\nline", strings.Repeat("x", maxPayload)} {
		p.Publish(models.ChangeEvent{Kind: models.ChangedKey, ID: id, Version: 1})
	}
	if n := len(p.pending); n != maxPending {
		t.Errorf("%d events are pending; want %d", n, maxPending)
	}
	_ = p.Start(t.Context())
	_ = p.Stop(t.Context())
	if !strings.Contains(log.String(), "change notification failed") {
		t.Errorf("log: %s", &log)
	}
}
