package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

func write(ctx context.Context, db *pgxpool.Pool, changes ...models.AuditRecord) error {
	return postgres.InTx(ctx, db, func(tx pgx.Tx) error {
		for _, change := range changes {
			if err := audit.Append(ctx, tx, change); err != nil {
				return err
			}
		}
		return nil
	})
}

func list(t *testing.T, log *audit.Log, filter models.AuditFilter) []models.AuditEntry {
	t.Helper()
	page, err := log.List(t.Context(), filter, nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	return page.Data
}

func TestAppend(t *testing.T) {
	db := testkit.Database(t)
	ctx := models.WithRequest(t.Context(), &models.Request{
		ID: "req_1", Key: &models.APIKey{ID: "k1"}, Address: netip.MustParseAddr("203.0.113.7"),
	})
	err := write(ctx, db, models.AuditRecord{Action: "key.change", Target: "k2", Before: map[string]int{"n": 1}, After: map[string]int{"n": 2}})
	if err != nil {
		t.Fatal(err)
	}
	entries := list(t, audit.New(db), models.AuditFilter{})
	if len(entries) != 1 {
		t.Fatalf("got %d entries; want 1", len(entries))
	}
	e := entries[0]
	if e.ID == "" || e.Actor != "k1" || e.Action != "key.change" || e.Target != "k2" || *e.IP != "203.0.113.7" || *e.RequestID != "req_1" ||
		string(e.Before) != `{"n": 1}` || string(e.After) != `{"n": 2}` || time.Since(e.At) > time.Minute || e.At.Location() != time.UTC {
		t.Errorf("got entry %+v", e)
	}
}

func TestAppend_null_fields(t *testing.T) {
	db := testkit.Database(t)
	if err := write(models.WithActor(t.Context(), models.ActorCLI), db, models.AuditRecord{Action: "plan.create", Target: "p"}); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(list(t, audit.New(db), models.AuditFilter{})[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"actor":"cli"`, `"before":null`, `"after":null`, `"ip":null`, `"request_id":null`} {
		if !strings.Contains(string(data), part) {
			t.Errorf("got %s; want it to contain %s", data, part)
		}
	}
}

// Of a large state the audit keeps what is small.
func TestAppend_bounds_large_states(t *testing.T) {
	db := testkit.Database(t)
	state := map[string]any{"name": "x", "version": 7, "metadata": map[string]string{"a": strings.Repeat("x", 150_000)}}
	if err := write(models.WithActor(t.Context(), models.ActorCLI), db, models.AuditRecord{Action: "key.change", Target: "k", Before: state, After: state}); err != nil {
		t.Fatal(err)
	}
	e := list(t, audit.New(db), models.AuditFilter{})[0]
	const want = `{"name": "x", "version": 7, "metadata": "150008 bytes, not recorded"}`
	if string(e.Before) != want || string(e.After) != want {
		t.Errorf("got before %.200s, after %.200s", e.Before, e.After)
	}
}

func TestAppend_requires_an_actor(t *testing.T) {
	db := testkit.Database(t)
	if err := write(t.Context(), db, models.AuditRecord{Action: "key.revoke", Target: "k"}); err == nil {
		t.Error("Append without an actor: got nil; want an error")
	}
	if entries := list(t, audit.New(db), models.AuditFilter{}); len(entries) != 0 {
		t.Errorf("got entries %v; want none", entries)
	}
}

func TestLog_List(t *testing.T) {
	db := testkit.Database(t)
	for i := range 9 {
		ctx := models.WithActor(t.Context(), fmt.Sprintf("actor%d", i%3))
		if err := write(ctx, db, models.AuditRecord{Action: fmt.Sprintf("key.a%d", i%2), Target: fmt.Sprintf("t%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	// Three entries at one instant, the others one hour apart.
	if _, err := db.Exec(t.Context(), `UPDATE audit_log SET at = '2026-01-01T00:00Z'::timestamptz + interval '1 hour' * greatest(id, 3)`); err != nil {
		t.Fatal(err)
	}
	log := audit.New(db)
	at := func(hour int) *time.Time {
		instant := time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC)
		return &instant
	}
	for _, test := range []struct {
		filter models.AuditFilter
		want   string
	}{
		{models.AuditFilter{}, "t8 t7 t6 t5 t4 t3 t2 t1 t0"},
		{models.AuditFilter{Actor: "actor1"}, "t7 t4 t1"},
		{models.AuditFilter{Action: "key.a0"}, "t8 t6 t4 t2 t0"},
		{models.AuditFilter{Target: "t5"}, "t5"},
		{models.AuditFilter{From: at(5), To: at(8)}, "t6 t5 t4"},
		{models.AuditFilter{Actor: "actor1", Action: "key.a1", From: at(4)}, "t7"},
	} {
		var targets []string
		var after *models.Position
		for {
			page, err := log.List(t.Context(), test.filter, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Data {
				targets = append(targets, e.Target)
			}
			if after = page.Next; after == nil {
				break
			}
		}
		if got := strings.Join(targets, " "); got != test.want {
			t.Errorf("%+v: got %s; want %s", test.filter, got, test.want)
		}
	}
	if _, err := db.Exec(t.Context(), `ALTER TABLE audit_log RENAME actor TO hidden`); err != nil {
		t.Fatal(err)
	}
	if _, err := log.List(t.Context(), models.AuditFilter{}, nil, 2); err == nil || errors.Is(err, models.ErrUnavailable) {
		t.Errorf("without a column: got error %v", err)
	}
}
