package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// badDatabase is a database that is up and can't do its work.
type badDatabase struct {
	name, reason    string // reason is of /readyz
	breaks, mends   []string
	readable        bool // reads work
	unknownKeyReads bool // a key that isn't in memory can be read
}

var badDatabases = []badDatabase{
	{
		name: "read_only", reason: "Not ready: the database is read-only.", readable: true, unknownKeyReads: true,
		breaks: []string{`ALTER DATABASE %[1]s SET default_transaction_read_only = on`, disconnect},
		mends:  []string{`ALTER DATABASE %[1]s RESET default_transaction_read_only`}, // connections stay read-only
	},
	{
		name: "empty", reason: "Not ready: a migration is pending; run 'ratelimiter migrate'.",
		breaks: []string{`ALTER SCHEMA public RENAME TO lost`, `CREATE SCHEMA public`},
		mends:  []string{`DROP SCHEMA public`, `ALTER SCHEMA lost RENAME TO public`},
	},
	{
		name: "full_disk", reason: "Not ready: the database has no space left.", readable: true, unknownKeyReads: true,
		breaks: []string{
			`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$`,
			`DO $$ DECLARE name text; BEGIN
				FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relispartition LOOP
					EXECUTE format('CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON %%I EXECUTE FUNCTION refuse()', name);
				END LOOP;
			END $$`,
		},
		mends: []string{`DROP FUNCTION refuse CASCADE`},
	},
}

// disconnect ends all other connections to the database, as a failover does.
const disconnect = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`

// run runs statements in which %[1]s is the name of the database.
func (a *testApp) run(conn *pgx.Conn, statements []string) {
	a.t.Helper()
	for _, statement := range statements {
		if _, err := conn.Exec(a.t.Context(), fmt.Sprintf(statement+"%.0[1]s", conn.Config().Database)); err != nil {
			a.t.Fatal(err)
		}
	}
}

// A database that can't write: 503 and not ready, what it can read is served, and
// no usage is lost or counted twice when it works again.
func TestPostgres_bad(t *testing.T) {
	t.Parallel()
	for _, bad := range badDatabases {
		t.Run(bad.name, func(t *testing.T) {
			app := newApp(t)
			conn, err := pgx.ConnectConfig(t.Context(), app.db.Config().ConnConfig)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.Background()) }()
			text := app.key(models.NewKey{Plan: "internal", Scopes: models.AllScopes()})
			caller, admin := app.As(text), app.admin()
			unknown := app.key(models.NewKey{Plan: "internal"})
			caller.Get("/v1/products").Want(http.StatusOK)
			admin.Get("/v1/me").Want(http.StatusOK)
			requests := int64(1)

			app.run(conn, bad.breaks)
			caller.Post("/v1/orders", order1) // also finds connections that have ended
			requests++
			for range 12 { // more attempts than a batch with invalid data has
				wantUnavailable(t, caller.Post("/v1/orders", order1))
				requests++
				if err := app.app.FlushUsage(t.Context()); err == nil {
					t.Fatal("usage was written")
				}
			}
			app.awaitReady(http.StatusServiceUnavailable)
			if got := problemOf(app.Get("/readyz")).Detail; got != bad.reason {
				t.Errorf("got %q; want %q", got, bad.reason)
			}
			wantUnavailable(t, admin.Post("/v1/admin/keys", `{"name":"x"}`))
			wantUnavailable(t, admin.Do(put, "/v1/admin/plans/x", minutePlan(1)))
			wantUnavailable(t, admin.Do(put, "/v1/admin/limiter", `{"mode":"shadow"}`))
			checkReads(t, app, bad, caller, unknown, &requests)

			app.run(conn, bad.mends)
			app.awaitReady(http.StatusOK)
			// The first writes may meet connections that are still read-only.
			app.await("usage is written", func() bool { return app.app.FlushUsage(t.Context()) == nil })
			awaitUsage(t, caller, "/v1/me/usage", requests)
			app.await("orders are accepted", func() bool { return caller.Post("/v1/orders", order1).Status == http.StatusCreated })
		})
	}
}

// checkReads checks requests that only read, and counts those of caller.
func checkReads(t *testing.T, app *testApp, bad badDatabase, caller *testkit.Client, unknown string, requests *int64) {
	t.Helper()
	caller.Get("/v1/products").Want(http.StatusOK) // cached
	for _, path := range []string{"/v1/products?limit=3", "/v1/orders", "/v1/me/usage"} {
		got := caller.Get(path)
		if bad.readable {
			got.Want(http.StatusOK)
		} else {
			wantUnavailable(t, got)
		}
	}
	*requests += 3 // usage costs nothing
	if got := app.As(unknown).Get("/v1/me"); bad.unknownKeyReads {
		got.Want(http.StatusOK)
	} else {
		wantUnavailable(t, got)
	}
}

func wantUnavailable(t *testing.T, r *testkit.Response) {
	t.Helper()
	r.Want(http.StatusServiceUnavailable)
	if r.Header.Get("Retry-After") == "" || problemOf(r).Code != "unavailable" {
		t.Errorf("got Retry-After %q and %s", r.Header.Get("Retry-After"), r.Body)
	}
}
