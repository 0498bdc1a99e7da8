package apikeys

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
)

// confirmTimeout bounds the write of a canary, which happens once per version.
const confirmTimeout = time.Second

// canaryText is what a canary is the MAC of.
const canaryText = "ratelimiter key canary"

// Verifier verifies presented keys. It records the first success under each
// pepper in a canary, so that Check finds a wrong pepper at the next start. It is
// safe for concurrent use.
type Verifier struct {
	db        *pgxpool.Pool
	peppers   *Peppers
	confirmed sync.Map // pepper version → struct{}
}

// NewVerifier returns a Verifier whose canaries are stored in db.
func NewVerifier(db *pgxpool.Pool, peppers *Peppers) *Verifier {
	return &Verifier{db: db, peppers: peppers}
}

// ParseID returns the id in a presented key, or models.ErrInvalidKey.
func (*Verifier) ParseID(presented string) (string, error) { return ParseID(presented) }

// Verify reports whether mac is the HMAC of key under the pepper of that version.
func (v *Verifier) Verify(key, version string, mac []byte) bool {
	if !v.peppers.Verify(key, version, mac) {
		return false
	}
	if _, known := v.confirmed.Load(version); !known {
		ctx, cancel := context.WithTimeout(context.Background(), confirmTimeout)
		defer cancel()
		if recordCanary(ctx, v.db, v.peppers, version) == nil { // otherwise the next success tries again
			v.confirmed.Store(version, struct{}{})
		}
	}
	return true
}

// Check fails if a pepper isn't the one that stored keys were hashed with; the
// error names every such version. Errors also: models.ErrUnavailable.
func (v *Verifier) Check(ctx context.Context) error {
	rows, err := v.db.Query(ctx, `SELECT pepper_version, mac FROM key_canaries ORDER BY pepper_version`)
	if err != nil {
		return postgres.Classify("read key canaries", err)
	}
	var faults []error
	var version string
	var mac []byte
	_, err = pgx.ForEachRow(rows, []any{&version, &mac}, func() error {
		secret, known := v.peppers.versions[version]
		switch {
		case !known: // an old pepper that was dropped
		case hmac.Equal(mac, sum(secret, canaryText)):
			v.confirmed.Store(version, struct{}{})
		default:
			faults = append(faults, fmt.Errorf("KEY_PEPPER: %s is not the pepper that the keys in this database were hashed with: "+
				"set the original secret; to replace it, add the new one under another version", version))
		}
		return nil
	})
	return errors.Join(postgres.Classify("read key canaries", err), errors.Join(faults...))
}

// recordCanary stores the canary of a pepper version, unless there is one.
func recordCanary(ctx context.Context, db interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}, peppers *Peppers, version string,
) error {
	_, err := db.Exec(ctx, `INSERT INTO key_canaries (pepper_version, mac) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		version, sum(peppers.versions[version], canaryText))
	return err
}
