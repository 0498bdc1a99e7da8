package apikeys

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// anyQuota accepts every plan and override.
type anyQuota struct{}

func (anyQuota) CheckQuota(context.Context, pgx.Tx, string, []models.Override) error { return nil }

type noInvalidator struct{}

func (noInvalidator) Invalidate(context.Context, models.ChangeEvent) {}

func TestVerifier_Check(t *testing.T) {
	db := testkit.Database(t)
	parse := func(list string) *Peppers {
		peppers, err := ParsePeppers(list)
		if err != nil {
			t.Fatal(err)
		}
		return peppers
	}
	original := parse("v1:the original secret of tests")
	if err := NewVerifier(db, original).Check(t.Context()); err != nil {
		t.Errorf("an empty database: %v", err)
	}
	_, _, err := NewStore(db, original, anyQuota{}, noInvalidator{}).Create(models.WithActor(t.Context(), "test"), models.NewKey{Name: "k"})
	if err != nil {
		t.Fatal(err)
	}
	for list, fault := range map[string]string{
		"v1:the original secret of tests":                                   "",
		"v2:another secret for the tests,v1:the original secret of tests":   "",
		"v2:another secret for the tests":                                   "",
		"v1:a wrong secret for the tests":                                   "KEY_PEPPER: v1",
		"v2:another secret for the tests,v1:a wrong secret for these tests": "KEY_PEPPER: v1",
	} {
		err := NewVerifier(db, parse(list)).Check(t.Context())
		if (err == nil) != (fault == "") || err != nil && (!strings.Contains(err.Error(), fault) || strings.Contains(err.Error(), "wrong")) {
			t.Errorf("%s: %v; want %q", list, err, fault)
		}
	}
}

// A database of an earlier release has keys and no canary: the first verified key
// writes it.
func TestVerifier_Verify_records_a_canary(t *testing.T) {
	db := testkit.Database(t)
	peppers, err := ParsePeppers("v3:a secret for the tests only")
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(db, peppers)
	mac, version := peppers.Hash("key")
	canaries := func() (n int) {
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM key_canaries WHERE pepper_version = 'v3'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if v.Verify("other", version, mac) || canaries() != 0 {
		t.Error("a wrong key was verified, or wrote a canary")
	}
	if !v.Verify("key", version, mac) || canaries() != 1 || !v.Verify("key", version, mac) || canaries() != 1 {
		t.Errorf("%d canaries; want 1", canaries())
	}
	wrong, err := ParsePeppers("v3:some other secret for the tests")
	if err != nil {
		t.Fatal(err)
	}
	if err := NewVerifier(db, wrong).Check(t.Context()); err == nil {
		t.Error("the wrong pepper was not found")
	}
}
