package orders

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// IdempotencyRetention is how long an idempotency key is remembered. A day
// covers clients that retry after an outage of a night.
const IdempotencyRetention = 24 * time.Hour

// PruneInterval is a suitable interval between calls of PruneIdempotencyKeys:
// it keeps the table near the size of a day.
const PruneInterval = time.Minute

// pruneBatch is how many rows one statement deletes; it takes milliseconds.
const pruneBatch = 1_000

// retryInFlight is when to retry while another request places the order, which
// takes milliseconds. A second is the shortest that Retry-After can express.
const retryInFlight = time.Second

var errInFlight = &models.Error{
	Kind: models.KindConflict, Code: "idempotency_in_progress", RetryAfter: retryInFlight,
	Message: "Another request with this idempotency key is in progress. Retry to get its response.",
}

// record is the stored outcome of the first request with an idempotency key.
type record struct {
	BodyHash  []byte
	OrderID   *string       // nil: rejected
	Faults    *storedFaults // nil: placed
	RequestID string
}

// storedFaults are the faults of a rejected order, as stored in JSON.
type storedFaults struct {
	Faults []models.Fault
	Total  int
}

// rejectionOf returns the faults of an order, or nil if err is of another kind.
func rejectionOf(err error) *models.Error {
	if rejection, ok := errors.AsType[*models.Error](err); ok && rejection.Kind == models.KindInvalid {
		return rejection
	}
	return nil
}

// readRecord queues locking the key for the transaction, and reading its record.
// The lock is taken by a statement of its own, so that the next one sees what its
// previous holder committed.
func (p *placement) readRecord(batch *pgx.Batch) {
	batch.Queue(`SELECT pg_try_advisory_xact_lock($1)`, lockOf(p.spec.Owner, p.spec.IdempotencyKey)).QueryRow(func(row pgx.Row) error {
		return row.Scan(&p.locked)
	})
	batch.Queue(`
		SELECT body_hash, order_id, refusal, request_id FROM idempotency_keys
		WHERE owner = $1 AND key = $2 AND created_at > now() - $3::interval`,
		p.spec.Owner, p.spec.IdempotencyKey, IdempotencyRetention).Query(func(rows pgx.Rows) (err error) {
		p.first, err = pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByPos[record])
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
}

// check returns the hash of the request. Errors: errInFlight, KindInvalid for a key
// that was used for another order.
func (p *placement) check() (bodyHash, error) {
	hash, err := hashOf(p.spec)
	switch {
	case err != nil:
		return hash, err
	case !p.locked:
		return hash, errInFlight
	case p.first != nil && bodyHash(p.first.BodyHash) != hash:
		var faults models.Faults
		faults.AddFault(models.Fault{
			Source: models.SourceHeader, Path: []string{"Idempotency-Key"},
			Code: "idempotency_key_reused", Message: "was used for another order: use a new key for each order",
		})
		return hash, faults.Err()
	}
	return hash, nil
}

// insertRecord queues the record of a first request.
func (p *placement) insertRecord(batch *pgx.Batch, hash bodyHash, requestID string) {
	var id *string
	var faults *storedFaults
	if p.rejection == nil {
		id = &p.order.ID
	} else {
		faults = &storedFaults{p.rejection.Faults, p.rejection.TotalFaults}
	}
	// A conflicting row has expired: readRecord found none.
	batch.Queue(`
		INSERT INTO idempotency_keys (owner, key, body_hash, order_id, refusal, request_id) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (owner, key) DO UPDATE SET body_hash = excluded.body_hash, order_id = excluded.order_id,
			refusal = excluded.refusal, request_id = excluded.request_id, created_at = excluded.created_at`,
		p.spec.Owner, p.spec.IdempotencyKey, hash[:], id, faults, requestID)
}

// replay returns the outcome of the first request: the order as it was placed,
// or the faults together with the id of the request that they were found for.
func (s *Store) replay(ctx context.Context, owner string, first *record) (models.Order, error) {
	if first.OrderID == nil {
		return models.Order{}, &models.Error{
			Kind: models.KindInvalid, Faults: first.Faults.Faults, TotalFaults: first.Faults.Total, RequestID: first.RequestID,
		}
	}
	order, err := s.Get(ctx, owner, *first.OrderID)
	return order.AsPlaced(), err
}

// bodyHash is the SHA-256 of an order's canonical form.
type bodyHash [sha256.Size]byte

// hashOf hashes the parsed order, so that white space and the order of fields
// make no difference. Its canonical form is independent of models.NewOrder, so
// that a new release still recognizes the orders of the previous one.
func hashOf(spec models.NewOrder) (bodyHash, error) {
	type item struct {
		ProductID string
		Quantity  int64
	}
	items := make([]item, len(spec.Items))
	for i, wanted := range spec.Items {
		items[i] = item{wanted.ProductID, wanted.Quantity}
	}
	canonical, err := json.Marshal([]any{items, spec.Email, spec.PaymentToken})
	return sha256.Sum256(canonical), err
}

// lockOf returns the number of the advisory lock of an owner's key. Two keys
// with the same number, which is improbable at 64 bits, would only get each
// other's KindConflict.
func lockOf(owner, key string) int64 {
	sum := sha256.Sum256([]byte("idempotency key\x00" + owner + "\x00" + key))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// PruneIdempotencyKeys deletes one batch of expired idempotency keys, oldest
// first and by the database's clock, and reports whether there may be more.
// Rows that a request is using stay. Errors: models.ErrUnavailable.
func (s *Store) PruneIdempotencyKeys(ctx context.Context) (more bool, err error) {
	tag, err := s.db.Exec(ctx, `
		DELETE FROM idempotency_keys WHERE (owner, key) IN (
			SELECT owner, key FROM idempotency_keys WHERE created_at <= now() - $1::interval
			ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, IdempotencyRetention, pruneBatch)
	return tag.RowsAffected() == pruneBatch, postgres.Classify("delete expired idempotency keys", err)
}
