package changefeed

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

func TestPublisher_batches_changes(t *testing.T) {
	db := testkit.Database(t)
	conn, err := postgres.Listen(t.Context(), db, channel)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := NewPublisher(db, slog.New(slog.DiscardHandler))
	_ = p.Start(t.Context())
	const published = 1000
	for range published {
		p.Publish()
	}
	_ = p.Stop(t.Context()) // sends the rest
	p.Publish()
	notifications := 0
	for {
		_, notified, err := conn.Wait(t.Context(), 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if !notified {
			break
		}
		notifications++
	}
	if notifications == 0 || notifications > published/100 {
		t.Errorf("%d notifications of %d changes; want a few", notifications, published)
	}
}

func TestPublisher_logs_failures(t *testing.T) {
	db := testkit.Database(t)
	db.Close()
	var log bytes.Buffer
	p := NewPublisher(db, slog.New(slog.NewTextHandler(&log, nil)))
	p.Publish() // is sent by Stop
	_ = p.Start(t.Context())
	_ = p.Stop(t.Context())
	if !strings.Contains(log.String(), "change notification failed") {
		t.Errorf("log: %s", &log)
	}
}
