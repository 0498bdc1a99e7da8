package events

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// logged collects what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// A database that doesn't say what its history is, as some hosted ones, is warned
// of once, and events are found as in others.
func TestLog_history_not_permitted(t *testing.T) {
	address := testkit.DatabaseURL(t)
	open := func(options ...postgres.Option) *pgxpool.Pool {
		db, err := postgres.Open(t.Context(), address, options...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		return db
	}
	writer := fixtureOn(t, open())
	writer.exec(`CREATE FUNCTION pg_control_system() RETURNS TABLE (system_identifier bigint) LANGUAGE plpgsql
		AS $$ BEGIN RAISE 'permission denied' USING ERRCODE = 'insufficient_privilege'; END $$`)
	f := fixtureOn(t, open(func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["search_path"] = "public, pg_catalog" }))
	var log logged
	f.log = slog.New(slog.NewTextHandler(&log, nil))
	if err := f.Start(t.Context()); err != nil {
		t.Fatalf("doesn't start: %v", err)
	}
	defer func() { _ = f.Stop(context.Background()) }()

	order := f.order("o", "ord_1")
	result := f.wait(order, Query{Limit: 1}, patience)
	f.awaitWatchers(1)
	f.await(func() bool { return f.hasRead(order) })
	writer.append(order, nil, models.EventOrderPlaced) // wakes nobody on f
	f.CatchUp()
	if got := <-result; got.err != nil || len(got.page.Data) != 1 {
		t.Errorf("got %+v", got)
	}
	if n := log.count("permission denied"); n != 1 {
		t.Errorf("got %d warnings", n)
	}
}
