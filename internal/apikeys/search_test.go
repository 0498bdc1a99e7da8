package apikeys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// insertKeys creates keys with the given names, each owned by "o-" and its id.
const insertKeys = `INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version, created_at)
	SELECT 'k' || i, name, 'free', 'o-k' || i, 'k' || i, '{}', sha256('x'), 'v1', now() - i * interval '1 second'
	FROM unnest($1::text[]) WITH ORDINALITY u (name, i)`

func TestStore_List_search(t *testing.T) {
	db := testkit.Database(t)
	if _, err := db.Exec(t.Context(), insertKeys, []string{"Checkout 100%", "checkout", `back\slash`, "under_score", "understate", "ÄRGER"}); err != nil {
		t.Fatal(err)
	}
	store := NewStore(db, nil, anyQuota{}, noInvalidator{})
	for search, want := range map[string]string{
		"CHECK": "k1 k2", "00%": "k1", "k%t": "", `k\s`: "k3", "r_s": "k4", "k2": "k2", "O-K3": "k3", "-k": "k1 k2 k3 k4 k5 k6", "t": "k1 k2 k5", "nothing": "",
	} {
		page, err := store.List(t.Context(), models.KeyFilter{Search: search}, nil, 10)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, key := range page.Data {
			ids = append(ids, key.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("search %q found %q, want %q", search, got, want)
		}
	}
}

// TestStore_List_plan checks that a search among 100,000 keys reads an index, as
// the owner of the database, who is no superuser, has created it.
func TestStore_List_plan(t *testing.T) {
	db := testkit.Database(t)
	fillKeys(t, db)
	page := &planOf{Pool: db}
	if _, err := NewStore(page, nil, anyQuota{}, noInvalidator{}).List(t.Context(), models.KeyFilter{Search: "key 77777"}, nil, 20); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.plan, "api_keys_search") || strings.Contains(page.plan, "Seq Scan") {
		t.Errorf("the plan of a search:\n%s", page.plan)
	}
}

// fillKeys creates 100,000 keys.
func fillKeys(t testing.TB, db *pgxpool.Pool) {
	t.Helper()
	var super bool
	if err := db.QueryRow(t.Context(), `SELECT rolsuper FROM pg_roles WHERE rolname = current_user`).Scan(&super); err != nil || super {
		t.Fatalf("superuser: %t, %v", super, err)
	}
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("key %05d", i)
	}
	if _, err := db.Exec(t.Context(), insertKeys, names); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `ANALYZE api_keys`); err != nil {
		t.Fatal(err)
	}
}

// planOf explains queries before it runs them.
type planOf struct {
	*pgxpool.Pool
	plan string
}

func (p *planOf) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if args[0] != pgx.QueryExecModeCacheDescribe {
		return nil, errors.New("the query may be planned once for all arguments")
	}
	args[0] = pgx.QueryExecModeSimpleProtocol // which EXPLAIN needs for arguments
	rows, err := p.Pool.Query(ctx, "EXPLAIN "+sql, args...)
	if err != nil {
		return nil, err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	p.plan = strings.Join(lines, "\n")
	return p.Pool.Query(ctx, sql, args...)
}

// BenchmarkStore_List_search searches among 100,000 keys for a part of a name
// that one key has.
func BenchmarkStore_List_search(b *testing.B) {
	db := testkit.Database(b)
	fillKeys(b, db)
	store := NewStore(db, nil, anyQuota{}, noInvalidator{})
	for b.Loop() {
		if page, err := store.List(b.Context(), models.KeyFilter{Search: "key 77777"}, nil, 20); err != nil || len(page.Data) != 1 {
			b.Fatal(len(page.Data), err)
		}
	}
}
