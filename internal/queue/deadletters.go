package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// DeadLetter is a message that was set aside.
type DeadLetter struct {
	ID       string
	Group    string
	Message  Message
	Reason   string // the last error
	Attempts int
	DeadAt   time.Time
}

// Filter selects dead letters. An empty field selects all.
type Filter struct {
	Group, Topic string
	Reason       string // a part of the reason, in any case of letters
}

// matching is the condition of a Filter in the parameters $1 to $3.
const matching = `($1 = '' OR "group" = $1) AND ($2 = '' OR topic = $2) AND ($3 = '' OR strpos(lower(reason), lower($3)) > 0)`

const deadLetterColumns = `id::text, "group", topic, message, reason, attempts, dead_at`

// DeadLetters returns up to limit dead letters that match, newest first, starting
// after the position after (nil: the start). Errors: models.ErrUnavailable.
func (q *Queue) DeadLetters(ctx context.Context, f Filter, after *models.Position, limit int) (models.Page[DeadLetter], error) {
	before, id := "infinity", "0"
	if after != nil {
		before, id = after.Sort, after.ID
	}
	rows, err := q.db.Query(ctx, `SELECT `+deadLetterColumns+` FROM dead_letters
		WHERE `+matching+` AND (dead_at, id) < ($4::text::timestamptz, $5::text::bigint)
		ORDER BY dead_at DESC, dead_letters.id DESC LIMIT $6`, f.Group, f.Topic, f.Reason, before, id, limit+1)
	if err != nil {
		return models.Page[DeadLetter]{}, postgres.Classify("list dead letters", err)
	}
	return postgres.CollectPage("list dead letters", rows, limit, scanDeadLetter, func(last DeadLetter) models.Position {
		return models.Position{Sort: last.DeadAt.UTC().Format(time.RFC3339Nano), ID: last.ID}
	})
}

func scanDeadLetter(row pgx.CollectableRow) (DeadLetter, error) {
	var d DeadLetter
	var topic string
	var message json.RawMessage
	if err := row.Scan(&d.ID, &d.Group, &topic, &message, &d.Reason, &d.Attempts, &d.DeadAt); err != nil {
		return d, err
	}
	if topic == "" { // it couldn't be decoded: all of it is the payload
		d.Message.Payload = message
		return d, nil
	}
	return d, json.Unmarshal(message, &d.Message)
}

// CountRedrivable returns the number of dead letters that RedriveAll would put
// back, for a dry run.
// Errors: models.ErrUnavailable.
func (q *Queue) CountRedrivable(ctx context.Context, f Filter) (n int64, err error) {
	err = q.db.QueryRow(ctx, `SELECT count(*) FROM dead_letters WHERE topic <> '' AND `+matching, f.Group, f.Topic, f.Reason).Scan(&n)
	return n, postgres.Classify("count dead letters", err)
}

// Redrive puts a dead letter back into its group, in tx, with its attempts reset
// and its history kept. Errors: models.ErrNotFound, models.ErrUnavailable.
func (q *Queue) Redrive(ctx context.Context, tx pgx.Tx, id string) (DeadLetter, error) {
	d, err := q.take(ctx, tx, id)
	if err != nil {
		return DeadLetter{}, err
	}
	return d, postgres.Classify("redrive", q.putBack(ctx, tx, priorityNormal, d))
}

// maxRedriven is the most dead letters of one RedriveAll: its transaction stays
// short, and its memory bounded.
const maxRedriven = 1000

// RedriveAll puts back the oldest dead letters that match, up to 1,000, in tx,
// and returns how many: the caller repeats it in further transactions until it
// returns 0. They have a low priority, so that they don't delay new messages.
// Errors: models.ErrUnavailable.
func (q *Queue) RedriveAll(ctx context.Context, tx pgx.Tx, f Filter) (int, error) {
	rows, err := tx.Query(ctx, `DELETE FROM dead_letters WHERE id IN (
			SELECT id FROM dead_letters WHERE topic <> '' AND `+matching+` ORDER BY dead_at, id LIMIT $4 FOR UPDATE SKIP LOCKED)
		RETURNING `+deadLetterColumns, f.Group, f.Topic, f.Reason, maxRedriven)
	if err != nil {
		return 0, postgres.Classify("redrive", err)
	}
	letters, err := pgx.CollectRows(rows, scanDeadLetter)
	if err == nil {
		err = q.putBack(ctx, tx, priorityLow, letters...)
	}
	return len(letters), postgres.Classify("redrive", err)
}

// Discard deletes a dead letter in tx and returns it.
// Errors: models.ErrNotFound, models.ErrUnavailable.
func (q *Queue) Discard(ctx context.Context, tx pgx.Tx, id string) (DeadLetter, error) {
	return q.take(ctx, tx, id)
}

// take deletes a dead letter and returns it.
func (q *Queue) take(ctx context.Context, tx pgx.Tx, id string) (DeadLetter, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("dead letter %q: %w", id, models.ErrNotFound)
	}
	rows, err := tx.Query(ctx, `DELETE FROM dead_letters WHERE id = $1 RETURNING `+deadLetterColumns, number)
	if err != nil {
		return DeadLetter{}, postgres.Classify("take a dead letter", err)
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDeadLetter)
	return d, postgres.Classify("take a dead letter", err)
}

// errNotRedrivable reports a message that no delivery can decode.
var errNotRedrivable = models.Conflict("not_redrivable", "The message can't be decoded. It can only be discarded.")

// putBack inserts the jobs of dead letters.
func (q *Queue) putBack(ctx context.Context, tx pgx.Tx, priority int, letters ...DeadLetter) error {
	jobs := make([]river.InsertManyParams, len(letters))
	for i, d := range letters {
		if d.Message.Topic == "" {
			return errNotRedrivable
		}
		d.Message.Attempt, d.Message.UnknownSince = 0, time.Time{}
		jobs[i] = newJob(d.Group, d.Message, priority, time.Time{})
	}
	return q.insert(ctx, tx, jobs)
}

// insertDeadLetter sets a message aside in tx. encoded is the whole message.
func insertDeadLetter(ctx context.Context, tx pgx.Tx, d DeadLetter, encoded json.RawMessage) error {
	_, err := tx.Exec(ctx, `INSERT INTO dead_letters ("group", topic, message, reason, attempts) VALUES ($1, $2, $3, $4, $5)`,
		d.Group, d.Message.Topic, encoded, d.Reason, d.Attempts)
	return err
}
