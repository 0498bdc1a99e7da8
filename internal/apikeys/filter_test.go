package apikeys

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// filterTest is a Filter on a new database, which the test makes read.
type filterTest struct {
	*Filter
	t  *testing.T
	db *pgxpool.Pool
}

func newFilterTest(t *testing.T) *filterTest {
	t.Helper()
	db, err := pgxpool.New(t.Context(), testkit.DatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	peppers := mustParse(t, "v2:"+newSecret+",v1:"+oldSecret)
	return &filterTest{NewFilter(db, slog.New(slog.DiscardHandler), peppers, func() bool { return true }), t, db}
}

func (f *filterTest) exec(sql string, args ...any) {
	f.t.Helper()
	if _, err := f.db.Exec(f.t.Context(), sql, args...); err != nil {
		f.t.Fatal(err)
	}
}

// create stores a key hashed with the pepper of a version.
func (f *filterTest) create(version string) (key, id string) {
	f.t.Helper()
	key, id = generate(false)
	f.exec(`INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
		VALUES ($1, 'k', 'free', 'o', $1, '{}', $2, $3)`, id, sum(f.peppers.versions[version], key), version)
	return key, id
}

// load reads what is invalidated.
func (f *filterTest) load() {
	f.t.Helper()
	if err := f.read(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *filterTest) wantVerdict(what, key string, want models.KeyVerdict) {
	f.t.Helper()
	if got := f.Check(key); got != want {
		f.t.Errorf("%s: got verdict %d; want %d", what, got, want)
	}
}

func (f *filterTest) wantLookUp(what, key string, want bool) {
	f.t.Helper()
	if got, err := f.LookUp(f.t.Context(), key); got != want || err != nil {
		f.t.Errorf("look up %s: got %t, %v; want %t", what, got, err, want)
	}
}

// withOtherSecret returns a well-formed key with the id of key and another secret.
func withOtherSecret(key string) string {
	body := key[:len(key)-crcLength-secretLength] + randomBase62(secretLength)
	return body + checksum(body)
}

func TestFilter_Check(t *testing.T) {
	f := newFilterTest(t)
	valid, _ := f.create("v2")
	old, _ := f.create("v1")
	revoked, revokedID := f.create("v2")
	f.exec(`UPDATE api_keys SET revoked_at = now() WHERE id = $1`, revokedID)
	expired, expiredID := f.create("v2")
	f.exec(`UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = $1`, expiredID)
	forged, _ := generate(false)

	for _, key := range []string{valid, forged} {
		f.wantVerdict("not loaded", key, models.KeyUndecided)
	}
	f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: revokedID})
	f.load()
	f.wantVerdict("the feed hasn't begun", forged, models.KeyUndecided)
	f.InvalidateAll()
	f.load()
	f.wantVerdict("valid", valid, models.KeyLive)
	f.wantVerdict("old pepper", old, models.KeyLive)
	f.wantVerdict("revoked", revoked, models.KeyUnknown)
	f.wantVerdict("expired", expired, models.KeyUnknown)
	f.wantVerdict("unknown id", forged, models.KeyUnknown)
	f.wantVerdict("wrong secret", withOtherSecret(valid), models.KeyUnknown)
	f.wantVerdict("mistyped", valid[:len(valid)-1]+"!", models.KeyMalformed)
	f.wantLookUp("valid", valid, true)
	f.wantLookUp("unknown id", forged, false)
	f.wantLookUp("wrong secret", withOtherSecret(valid), false)
	f.wantLookUp("mistyped", "rl_live_x", false)
	f.wantVerdict("valid after lookups", valid, models.KeyLive)

	f.current = func() bool { return false }
	f.wantVerdict("valid while the feed is behind", valid, models.KeyLive)
	f.wantVerdict("unknown id while the feed is behind", forged, models.KeyUndecided)
	f.wantVerdict("wrong secret while the feed is behind", withOtherSecret(valid), models.KeyUndecided)
}

func TestFilter_changes(t *testing.T) {
	f := newFilterTest(t)
	f.InvalidateAll()
	f.load()
	key, id := f.create("v2")
	changed := models.ChangeEvent{Kind: models.ChangedKey, ID: id}
	f.wantVerdict("created, not announced", key, models.KeyUnknown)
	f.wantLookUp("a new key", key, true)
	f.wantVerdict("looked up", key, models.KeyLive)
	f.Invalidate(changed)
	f.wantVerdict("announced", key, models.KeyUndecided)
	f.load()
	f.wantVerdict("read", key, models.KeyLive)

	f.exec(`UPDATE api_keys SET revoked_at = now() WHERE id = $1`, id)
	f.Invalidate(changed)
	f.load()
	f.wantVerdict("revoked", key, models.KeyUnknown)
	f.exec(`UPDATE api_keys SET revoked_at = NULL, expires_at = now() + interval '1 hour' WHERE id = $1`, id)
	f.Invalidate(changed)
	f.load()
	f.wantVerdict("restored", key, models.KeyLive)
	f.exec(`UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = $1`, id)
	f.wantVerdict("expired since", key, models.KeyLive)
	f.wantLookUp("an expired key", key, false)
	f.wantVerdict("expired and looked up", key, models.KeyUnknown)

	other, _ := f.create("v2")
	f.InvalidateAll()
	f.wantVerdict("the feed lost its place", other, models.KeyUndecided)
	f.load()
	f.wantVerdict("all read again", other, models.KeyLive)
	f.wantVerdict("expired, all read again", key, models.KeyUnknown)
}

// What was read before a change doesn't undo it.
func TestFilter_change_during_read(t *testing.T) {
	f := newFilterTest(t)
	f.InvalidateAll()
	f.load()
	key, id := f.create("v2")
	changed := models.ChangeEvent{Kind: models.ChangedKey, ID: id}
	f.Invalidate(changed)
	f.put(id, 0) // a row read before the change
	f.wantVerdict("changed during a read", key, models.KeyUndecided)

	f.exec(`UPDATE api_keys SET revoked_at = now() WHERE id = $1`, id)
	during := func(query func() error, change func()) {
		t.Helper()
		lock, err := f.db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lock.Exec(t.Context(), `LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE`); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- query() }()
		awaitBlocked(t, lock)
		change()
		if err := errors.Join(lock.Rollback(t.Context()), <-ended); err != nil {
			t.Fatal(err)
		}
	}
	during(func() error {
		_, err := f.LookUp(t.Context(), key)
		return err
	}, func() { f.Invalidate(changed) })
	f.wantVerdict("changed during a lookup", key, models.KeyUndecided)

	during(func() error { return f.read(t.Context()) }, f.InvalidateAll)
	f.wantVerdict("all changed during a read", key, models.KeyUndecided)
	f.load()
	f.wantVerdict("read again", key, models.KeyUnknown)
}

func TestFilter_failed_read(t *testing.T) {
	f := newFilterTest(t)
	key, id := f.create("v2")
	f.InvalidateAll()
	f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: id})
	f.exec(`ALTER TABLE api_keys RENAME TO away`)
	if err := f.read(t.Context()); err == nil {
		t.Error("no error without a table")
	}
	if _, err := f.LookUp(t.Context(), key); err == nil {
		t.Error("LookUp: no error without a table")
	}
	f.wantVerdict("not read", key, models.KeyUndecided)
	f.exec(`ALTER TABLE away RENAME TO api_keys`)
	f.load()
	f.wantVerdict("all read later", key, models.KeyLive)
	f.wantVerdict("wrong secret", withOtherSecret(key), models.KeyUnknown)

	f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: id})
	f.exec(`ALTER TABLE api_keys RENAME TO away`)
	if err := f.read(t.Context()); err == nil {
		t.Error("no error without a table")
	}
	f.exec(`ALTER TABLE away RENAME TO api_keys`)
	f.load()
	f.wantVerdict("one read later", key, models.KeyLive)
}

func TestFilter_bounds(t *testing.T) {
	f := newFilterTest(t)
	f.exec(`INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
		SELECT substr(md5(n::text), 1, 12), 'k', 'free', 'o', 'o', '{}', sha256(n::text::bytea), 'v2' FROM generate_series(1, $1) n`, 2*filterPage)
	key, _ := f.create("v2")
	f.InvalidateAll()
	f.load()
	if len(f.tags) != 2*filterPage+1 {
		t.Errorf("got %d keys in memory; want %d", len(f.tags), 2*filterPage+1)
	}
	f.wantVerdict("among several pages", key, models.KeyLive)

	f.exec(`UPDATE api_keys SET revoked_at = now() WHERE id = $1`, idOf(t, key))
	f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: idOf(t, key)})
	for range maxChanged {
		f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: randomBase62(idLength)})
	}
	if len(f.changed) > maxChanged || f.loaded {
		t.Errorf("got %d waiting changes, loaded %t; want all keys to be read", len(f.changed), f.loaded)
	}
	f.load()
	f.wantVerdict("one of many changes", key, models.KeyUnknown)
	if len(f.tags) != 2*filterPage {
		t.Errorf("got %d keys in memory; want %d", len(f.tags), 2*filterPage)
	}
}

// An unknown id and a wrong secret take the same steps: the same number of MACs,
// seen in their allocations, and the same query with one row.
func TestFilter_equal_work(t *testing.T) {
	f := newFilterTest(t)
	valid, _ := f.create("v2")
	f.InvalidateAll()
	f.load()
	forged, _ := generate(false)
	wrong := withOtherSecret(valid)
	mac := sum(f.peppers.versions["v2"], valid)
	oneMAC := testing.AllocsPerRun(100, func() { sum(f.peppers.versions["v2"], valid) })
	for _, test := range []struct {
		name  string
		macs  float64
		check func(key string)
	}{
		{"Check", 2, func(key string) { f.Check(key) }},
		{"Verify", 1, func(key string) {
			if key == forged {
				f.peppers.Verify(key, "", nil)
			} else {
				f.peppers.Verify(key, "v2", mac)
			}
		}},
	} {
		unknown := testing.AllocsPerRun(100, func() { test.check(forged) })
		known := testing.AllocsPerRun(100, func() { test.check(wrong) })
		if unknown != known || unknown < test.macs*oneMAC {
			t.Errorf("%s: got %v allocations for an unknown id and %v for a wrong secret; want equal, and at least %v", test.name, unknown, known, test.macs*oneMAC)
		}
	}
	for _, key := range []string{forged, wrong} {
		rows := 0
		if err := f.query(t.Context(), tagsQuery, []string{idOf(t, key)}, func(string, uint64) { rows++ }); err != nil || rows != 1 {
			t.Errorf("got %d rows, error %v; want one", rows, err)
		}
	}
}

// The filter reads in the background until it is stopped.
func TestFilter_Start(t *testing.T) {
	f := newFilterTest(t)
	key, _ := f.create("v2")
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.InvalidateAll()
	for deadline := time.Now().Add(20 * time.Second); f.Check(key) != models.KeyLive; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timeout: the key isn't read")
		}
	}
	if err := f.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func idOf(t *testing.T, key string) string {
	t.Helper()
	id, err := ParseID(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// awaitBlocked waits until a query is blocked by the lock that tx holds.
func awaitBlocked(t *testing.T, tx pgx.Tx) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		var blocked int
		if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'api_keys'::regclass`).Scan(&blocked); err != nil {
			t.Fatal(err)
		}
		if blocked > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("timeout: no query is blocked")
		}
	}
}
