package shop

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// IdempotencyLife is how long an idempotency key is remembered. A day covers a
// caller who retries after a night's outage.
const IdempotencyLife = 24 * time.Hour

// retryInFlight is when to ask again for an order that is being placed, which
// takes milliseconds: the shortest that Retry-After can say.
const retryInFlight = time.Second

var errInFlight = &models.StatusError{
	Status:     http.StatusConflict,
	Detail:     "A request with this idempotency key is being carried out. Ask again for its answer.",
	RetryAfter: retryInFlight,
}

// placement is what became of an order: it was placed, or refused for faults
// that only the transaction could find.
type placement struct {
	order    models.Order
	refusal  *models.InvalidError // nil: it was placed
	replayed bool                 // by an earlier request
}

// remembered is what became of an earlier request with the same key.
type remembered struct {
	BodyHash  []byte
	OrderID   *string              // nil: it was refused
	Refusal   *models.InvalidError // nil: it was placed
	RequestID string
}

// placeOnce places an order, unless one was placed or refused under its key
// before. Whoever comes while another is at it is answered at once: the lock
// isn't waited for. The transaction has to be committed when the error is nil,
// also for a refusal. Errors: errInFlight, *models.InvalidError for a key that
// came with another order, the database's.
func (o *Orders) placeOnce(ctx context.Context, tx pgx.Tx, spec models.NewOrder) (placement, error) {
	hash, err := hashOf(spec)
	if err != nil {
		return placement{}, err
	}
	first, err := recall(ctx, tx, spec.Owner, spec.IdempotencyKey)
	switch {
	case err != nil:
		return placement{}, err
	case first == nil:
		return o.placeFirst(ctx, tx, spec, hash)
	case [sha256.Size]byte(first.BodyHash) != hash:
		var faults models.Faults
		faults.Add("header", "Idempotency-Key", "idempotency_key_reused", "was sent with another order before: take a new key for each order")
		return placement{}, faults.Err()
	default:
		return replay(ctx, tx, spec.Owner, first)
	}
}

// placeFirst places an order and remembers what became of it. Faults are found
// before anything is written, so that a refusal can be committed.
func (o *Orders) placeFirst(ctx context.Context, tx pgx.Tx, spec models.NewOrder, hash [sha256.Size]byte) (placement, error) {
	order, err := place(ctx, tx, spec)
	p := placement{order: order}
	if err != nil && !errors.As(err, &p.refusal) {
		return placement{}, err
	}
	var id *string
	if p.refusal == nil {
		id = &order.ID
	}
	// A row that is still there has had its life: recall found none.
	_, err = tx.Exec(ctx, `
		INSERT INTO idempotency_keys (owner, key, body_hash, order_id, refusal, request_id) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (owner, key) DO UPDATE SET body_hash = excluded.body_hash, order_id = excluded.order_id,
			refusal = excluded.refusal, request_id = excluded.request_id, created_at = excluded.created_at`,
		spec.Owner, spec.IdempotencyKey, hash[:], id, p.refusal, models.RequestFrom(ctx).ID)
	if err != nil {
		return placement{}, failure("remember the idempotency key", err)
	}
	return p, nil
}

// recall locks an owner's key for this transaction and returns what is
// remembered of it; nil: nothing. The lock comes first, in a statement of its
// own: the next one then sees what whoever held it has committed.
func recall(ctx context.Context, tx pgx.Tx, owner, key string) (*remembered, error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT pg_try_advisory_xact_lock($1)`, lockOf(owner, key))
	batch.Queue(`
		SELECT body_hash, order_id, refusal, request_id FROM idempotency_keys
		WHERE owner = $1 AND key = $2 AND created_at > now() - $3::interval`, owner, key, IdempotencyLife)
	results := tx.SendBatch(ctx, batch)
	defer func() { _ = results.Close() }() // what went wrong, the reads have told

	var locked bool
	if err := results.QueryRow().Scan(&locked); err != nil {
		return nil, failure("lock the idempotency key", err)
	}
	if !locked {
		return nil, errInFlight
	}
	rows, err := results.Query()
	if err != nil {
		return nil, failure("read the idempotency key", err)
	}
	first, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByPos[remembered])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return first, failure("read the idempotency key", err)
}

// replay gives the first answer again: as the order was then, whatever became of
// it since, or the faults with the request that they were found for.
func replay(ctx context.Context, tx pgx.Tx, owner string, first *remembered) (placement, error) {
	if first.OrderID == nil {
		first.Refusal.RequestID = first.RequestID
		return placement{refusal: first.Refusal, replayed: true}, nil
	}
	order, err := get(ctx, tx, owner, *first.OrderID)
	return placement{order: order.AsPlaced(), replayed: true}, err
}

// hashOf is over what the caller asked for, as it was understood: white space
// and the order of names make no difference.
// Its form is one of its own, so that a release that changes models.NewOrder
// still knows the orders of the one before.
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

// lockOf is the number of the advisory lock for an owner's key. Two keys with
// one number, which chance never makes, would only answer 409 to each other.
func lockOf(owner, key string) int64 {
	sum := sha256.Sum256([]byte("idempotency key\x00" + owner + "\x00" + key))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// PruneIdempotencyKeys removes one batch, the oldest first, of the idempotency
// keys that have had their life, by the database's clock, and returns how many
// that were. Those that somebody is taking anew stay. Errors:
// models.ErrUnavailable.
func (o *Orders) PruneIdempotencyKeys(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	tag, err := o.db.Exec(ctx, `
		DELETE FROM idempotency_keys WHERE (owner, key) IN (
			SELECT owner, key FROM idempotency_keys WHERE created_at <= now() - $1::interval
			ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, IdempotencyLife, pruneBatch)
	if err != nil {
		return 0, models.Failure("remove old idempotency keys", err, postgres.IsUnavailable(err))
	}
	return tag.RowsAffected(), nil
}
