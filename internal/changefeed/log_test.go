package changefeed

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// logReader is a change log on its own database.
type logReader struct {
	*changeLog
	t  *testing.T
	db *pgxpool.Pool
}

func newLogReader(t *testing.T) *logReader {
	t.Helper()
	return &logReader{changeLog: newChangeLog(), t: t, db: testkit.Database(t)}
}

func (r *logReader) next() readResult {
	r.t.Helper()
	conn, err := r.db.Acquire(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Release()
	found, err := r.read(r.t.Context(), conn.Conn())
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

func (r *logReader) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.db.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
}

func TestChangeLog_Read(t *testing.T) {
	t.Run("first read invalidates everything", func(t *testing.T) {
		r := newLogReader(t)
		if found := r.next(); !found.all || found.mode != models.ModeEnforce {
			t.Errorf("read %+v", found)
		}
	})
	t.Run("later reads return each event once", func(t *testing.T) {
		r := newLogReader(t)
		r.next()
		r.exec(`UPDATE plans SET description = 'x', version = 2 WHERE name = 'free'`)
		r.exec(`DELETE FROM plans WHERE name = 'pro'`)
		r.exec(`INSERT INTO plans (name, policies) VALUES ('new', '[]')`)
		found := r.next()
		want := []models.ChangeEvent{{Kind: models.ChangedPlan, ID: "free", Version: 2}, {Kind: models.ChangedPlan, ID: "pro"}, {Kind: models.ChangedPlan, ID: "new", Version: 1}}
		if found.all || len(found.events) != len(want) {
			t.Fatalf("read %+v; want %v", found, want)
		}
		for _, e := range want {
			if !slices.Contains(found.events, e) {
				t.Errorf("%+v is missing in %v", e, found.events)
			}
		}
		if found := r.next(); found.all || len(found.events) != 0 {
			t.Errorf("the next read returned %+v", found)
		}
	})
	t.Run("invalidates all after a long absence", func(t *testing.T) {
		r := newLogReader(t)
		r.next()
		r.at = r.at.Add(-maxAbsence - time.Second)
		if !r.next().all {
			t.Error("the read returned single events")
		}
	})
	t.Run("invalidates all after a restore", func(t *testing.T) {
		r := newLogReader(t)
		r.next()
		r.xmin += 1_000_000
		if found := r.next(); !found.all || !found.restored {
			t.Errorf("read %+v", found)
		}
	})
	t.Run("invalidates all in a new epoch of transaction numbers", func(t *testing.T) {
		r := newLogReader(t)
		r.next()
		r.exec(`UPDATE event_epoch SET epoch = epoch + 1`)
		if found := r.next(); !found.all || !found.restored {
			t.Errorf("read %+v", found)
		}
		if r.next().all {
			t.Error("the next read returned everything")
		}
	})
	t.Run("invalidates all after too many events", func(t *testing.T) {
		r := newLogReader(t)
		r.next()
		r.exec(`INSERT INTO changes (kind, id, version) SELECT 'key', 'k' || n, 1 FROM generate_series(1, $1) n`, maxRead+1)
		if !r.next().all {
			t.Error("the read returned single events")
		}
	})
}

func TestPrune(t *testing.T) {
	db := testkit.Database(t)
	_, err := db.Exec(t.Context(), `INSERT INTO changes (kind, id, version, at)
		SELECT 'key', 'k' || n, 1, now() - make_interval(hours => 1, secs => CASE WHEN n <= $1 THEN 1 ELSE -60 END) FROM generate_series(1, $1 + 1) n`, pruneBatch+5)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if more, err := Prune(t.Context(), db); err != nil || more != want {
			t.Errorf("batch %d: Prune = %t, %v; want %t", i+1, more, err, want)
		}
	}
	var left int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM changes`).Scan(&left); err != nil || left != 1 {
		t.Errorf("%d rows left, %v; want the younger one", left, err)
	}
}
