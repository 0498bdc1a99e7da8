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

// placement is the outcome of a request for an order: the order, or faults that
// only the transaction could find.
type placement struct {
	order     models.Order
	rejection *models.Error // nil: the order was placed
	replayed  bool          // the outcome is an earlier request's
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

// placeOnce places an order unless an earlier request with its idempotency key
// was placed or rejected. It fails at once while another request holds the key.
// The transaction must be committed when the error is nil, also after a
// rejection. Errors: errInFlight, KindInvalid for a key that was used for
// another order, models.ErrUnavailable.
func (s *Store) placeOnce(ctx context.Context, tx pgx.Tx, spec models.NewOrder) (placement, error) {
	hash, err := hashOf(spec)
	if err != nil {
		return placement{}, err
	}
	first, err := findRecord(ctx, tx, spec.Owner, spec.IdempotencyKey)
	switch {
	case err != nil:
		return placement{}, err
	case first == nil:
		return s.placeFirst(ctx, tx, spec, hash)
	case [sha256.Size]byte(first.BodyHash) != hash:
		var faults models.Faults
		faults.AddFault(models.Fault{
			Source: models.SourceHeader, Path: []string{"Idempotency-Key"},
			Code: "idempotency_key_reused", Message: "was used for another order: use a new key for each order",
		})
		return placement{}, faults.Err()
	default:
		return replay(ctx, tx, spec.Owner, first)
	}
}

// placeFirst places an order and stores the outcome. Faults are found before
// anything is written, so that a rejection can be committed.
func (s *Store) placeFirst(ctx context.Context, tx pgx.Tx, spec models.NewOrder, hash [sha256.Size]byte) (placement, error) {
	order, err := s.place(ctx, tx, spec)
	p := placement{order: order}
	if err != nil {
		if !errors.As(err, &p.rejection) || p.rejection.Kind != models.KindInvalid {
			return placement{}, err
		}
	}
	var id *string
	var faults *storedFaults
	if p.rejection == nil {
		id = &order.ID
	} else {
		faults = &storedFaults{p.rejection.Faults, p.rejection.TotalFaults}
	}
	// A conflicting row has expired: findRecord returned none.
	_, err = tx.Exec(ctx, `
		INSERT INTO idempotency_keys (owner, key, body_hash, order_id, refusal, request_id) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (owner, key) DO UPDATE SET body_hash = excluded.body_hash, order_id = excluded.order_id,
			refusal = excluded.refusal, request_id = excluded.request_id, created_at = excluded.created_at`,
		spec.Owner, spec.IdempotencyKey, hash[:], id, faults, models.RequestFrom(ctx).ID)
	return p, postgres.Classify("store idempotency key", err)
}

// findRecord locks an owner's key for this transaction and returns its record;
// nil: there is none. The lock is taken by a statement of its own, so that the
// next one sees what its previous holder committed.
func findRecord(ctx context.Context, tx pgx.Tx, owner, key string) (*record, error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT pg_try_advisory_xact_lock($1)`, lockOf(owner, key))
	batch.Queue(`
		SELECT body_hash, order_id, refusal, request_id FROM idempotency_keys
		WHERE owner = $1 AND key = $2 AND created_at > now() - $3::interval`, owner, key, IdempotencyRetention)
	results := tx.SendBatch(ctx, batch)
	defer func() { _ = results.Close() }() // the reads have reported every error

	var locked bool
	if err := results.QueryRow().Scan(&locked); err != nil {
		return nil, postgres.Classify("lock idempotency key", err)
	}
	if !locked {
		return nil, errInFlight
	}
	rows, err := results.Query()
	if err != nil {
		return nil, postgres.Classify("read idempotency key", err)
	}
	first, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByPos[record])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return first, postgres.Classify("read idempotency key", err)
}

// replay returns the outcome of the first request: the order as it was placed,
// or the faults together with the id of the request that they were found for.
func replay(ctx context.Context, tx pgx.Tx, owner string, first *record) (placement, error) {
	if first.OrderID == nil {
		rejection := &models.Error{
			Kind: models.KindInvalid, Faults: first.Faults.Faults, TotalFaults: first.Faults.Total, RequestID: first.RequestID,
		}
		return placement{rejection: rejection, replayed: true}, nil
	}
	order, err := get(ctx, tx, owner, *first.OrderID)
	return placement{order: order.AsPlaced(), replayed: true}, err
}

// hashOf hashes the parsed order, so that white space and the order of fields
// make no difference. Its canonical form is independent of models.NewOrder, so
// that a new release still recognizes the orders of the previous one.
func hashOf(spec models.NewOrder) ([sha256.Size]byte, error) {
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
