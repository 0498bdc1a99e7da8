package quota

import (
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// reader is a log of changes on a database of its own.
type reader struct {
	*changeLog
	t    *testing.T
	read func() reading
	exec func(sql string, args ...any)
}

func newReader(t *testing.T) *reader {
	t.Helper()
	db := testkit.Database(t)
	log := newChangeLog()
	return &reader{
		changeLog: log, t: t,
		read: func() reading {
			conn, err := db.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Release()
			found, err := log.read(t.Context(), conn.Conn())
			if err != nil {
				t.Fatal(err)
			}
			return found
		},
		exec: func(sql string, args ...any) {
			if _, err := db.Exec(t.Context(), sql, args...); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func TestTheFirstReadSaysToForgetEverythingAndTheNextOnlyWhatChanged(t *testing.T) {
	r := newReader(t)
	if found := r.read(); !found.everything || found.mode != models.ModeEnforce {
		t.Errorf("the first read found %+v", found)
	}
	r.exec(`UPDATE plans SET description = 'x', version = 2 WHERE name = 'free'`)
	r.exec(`DELETE FROM plans WHERE name = 'pro'`)
	r.exec(`INSERT INTO plans (name, policies) VALUES ('new', '[]')`)
	found := r.read()
	if found.everything || len(found.changes) != 3 {
		t.Fatalf("the second read found %+v", found)
	}
	for _, want := range []change{{models.ChangedPlan, "free", 2}, {models.ChangedPlan, "pro", 0}, {models.ChangedPlan, "new", 1}} {
		if n := strings.Count(line(found.changes), line([]change{want})); n != 1 {
			t.Errorf("%+v is there %d times", want, n)
		}
	}
	if found := r.read(); found.everything || len(found.changes) != 0 {
		t.Errorf("the third read found %+v", found)
	}
}

func line(changes []change) string {
	set := map[change]struct{}{}
	for _, c := range changes {
		set[c] = struct{}{}
	}
	return strings.Join(payloads(set), "")
}

func TestAReaderThatWasAwayTooLongOrMetAnotherHistoryForgetsEverything(t *testing.T) {
	r := newReader(t)
	r.read()
	r.at = r.at.Add(-maxAway - time.Second)
	if !r.read().everything {
		t.Error("away for longer than the log lasts, and nothing to forget")
	}
	r.xmin += 1_000_000
	if found := r.read(); !found.everything || !found.restored {
		t.Errorf("transactions went back, and it found %+v", found)
	}
	r.exec(`INSERT INTO changes (kind, id, version) SELECT 'key', 'k' || n, 1 FROM generate_series(1, $1) n`, maxRead+1)
	if !r.read().everything {
		t.Error("more than is worth reading, and nothing to forget")
	}
}

func TestTheLogIsPrunedInBatches(t *testing.T) {
	db := testkit.Database(t)
	conn, err := db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	_, err = conn.Exec(t.Context(), `INSERT INTO changes (kind, id, version, at)
		SELECT 'key', 'k' || n, 1, now() - make_interval(hours => 1, secs => CASE WHEN n <= $1 THEN 1 ELSE -60 END) FROM generate_series(1, $1 + 1) n`, pruneBatch+5)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if more, err := prune(t.Context(), conn.Conn()); err != nil || more != want {
			t.Errorf("batch %d: more %t, %v", i+1, more, err)
		}
	}
	var left int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM changes`).Scan(&left); err != nil || left != 1 {
		t.Errorf("%d rows are left, %v; want the one that is younger", left, err)
	}
}

func TestANotificationIsNewsUnlessItWasRead(t *testing.T) {
	r := newReader(t)
	r.read()
	told := "plan free 2\n"
	if !r.isNews(told) || !r.isNews("") || !r.isNews("no such thing") {
		t.Error("what wasn't read is news")
	}
	r.known[change{models.ChangedPlan, "free", 2}] = struct{}{}
	r.known[change{models.ChangedPlan, "new", 1}] = struct{}{}
	if r.isNews(told) {
		t.Error("what was read is no news")
	}
	if !r.isNews("plan new 1\n") || !r.isNews(told+"key x 3\n") {
		t.Error("what may have come again, or is new among what is known, is news")
	}
}

func TestPayloadsAreSmallAndSayEverything(t *testing.T) {
	changed := map[change]struct{}{}
	for i := range int64(2_000) {
		changed[change{models.ChangedKey, strings.Repeat("k", 20), i}] = struct{}{}
	}
	back := map[change]struct{}{}
	for _, payload := range payloads(changed) {
		if len(payload) >= 8_000 || payload == "" {
			t.Errorf("a payload of %d bytes", len(payload))
		}
		for _, c := range parsePayload(payload) {
			back[c] = struct{}{}
		}
	}
	if len(back) != len(changed) {
		t.Errorf("%d of %d changes came back", len(back), len(changed))
	}
	if got := parsePayload("key only\nkey x y\n\nkey x 1 2\n"); got != nil {
		t.Errorf("nonsense was read as %v", got)
	}
}
