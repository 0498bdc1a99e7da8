package apikeys

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

const (
	// ticketPrefix begins every ticket; 26 characters of base32 (130 random bits)
	// follow, so that a fast hash is enough.
	ticketPrefix = "tkt_"
	// ticketLifetime covers a slow page on a slow network. Tickets are in URLs,
	// which logs of proxies may keep.
	ticketLifetime = 30 * time.Second
	// maxTickets is how many unused tickets an owner can have.
	maxTickets = 100
	// pruneTickets is how many rows one statement deletes.
	pruneTickets = 1_000
)

// Tickets keeps tickets in Postgres: they open a WebSocket where a browser can't
// send a key in a header. It is safe for concurrent use.
type Tickets struct{ db *pgxpool.Pool }

// NewTickets returns the tickets stored in db.
func NewTickets(db *pgxpool.Pool) *Tickets { return &Tickets{db: db} }

// issueTicket stores a ticket unless its owner has the most already. It returns
// the ticket's expiry or null, and the time until the owner's oldest one expires.
const issueTicket = `
	WITH unused AS (SELECT count(*) AS n, min(expires_at) AS first FROM tickets WHERE owner = $3 AND expires_at > clock_timestamp()),
	issued AS (
		INSERT INTO tickets (hash, key_id, owner, expires_at)
		SELECT $1, $2, $3, clock_timestamp() + make_interval(secs => $4) FROM unused WHERE n < $5
		RETURNING expires_at)
	SELECT issued.expires_at, COALESCE(first - clock_timestamp(), '0') FROM unused LEFT JOIN issued ON true`

// Issue returns a new ticket of a key. Errors: KindLimited (too_many_tickets) if
// the key's owner has too many unused ones; models.ErrUnavailable.
func (t *Tickets) Issue(ctx context.Context, key *models.APIKey) (models.Ticket, error) {
	ticket := models.Ticket{Ticket: ticketPrefix + rand.Text()}
	batch := &pgx.Batch{} // one transaction
	batch.Queue(`SELECT pg_advisory_xact_lock(hashtextextended('tickets of ' || $1, 0))`, key.Owner)
	var expiresAt *time.Time
	var wait time.Duration
	batch.Queue(issueTicket, hashTicket(ticket.Ticket), key.ID, key.Owner, ticketLifetime.Seconds(), maxTickets).
		QueryRow(func(row pgx.Row) error { return row.Scan(&expiresAt, &wait) })
	err := t.db.SendBatch(ctx, batch).Close()
	switch {
	case err != nil:
		return models.Ticket{}, postgres.Classify("issue ticket", err)
	case expiresAt == nil:
		return models.Ticket{}, &models.Error{
			Kind: models.KindLimited, Code: "too_many_tickets", Policy: "tickets", RetryAfter: max(wait, time.Millisecond),
			Message: fmt.Sprintf("An owner can have at most %d unused tickets. Use them, or wait until they expire.", maxTickets),
		}
	}
	ticket.ExpiresAt = expiresAt.UTC()
	return ticket, nil
}

// redeemTicket deletes a ticket. It is valid for the owner that its key had then.
const redeemTicket = `
	DELETE FROM tickets t WHERE hash = $1
	RETURNING key_id, expires_at > clock_timestamp() AND EXISTS (SELECT FROM api_keys k WHERE k.id = t.key_id AND k.owner = t.owner)`

// Redeem uses up a ticket and returns the id of its key, which may not be usable
// any more. Errors: models.ErrInvalidKey if the ticket is unknown, used or
// expired, or its key belongs to another owner now; models.ErrUnavailable.
func (t *Tickets) Redeem(ctx context.Context, ticket string) (keyID string, err error) {
	if !strings.HasPrefix(ticket, ticketPrefix) {
		return "", models.ErrInvalidKey
	}
	var valid bool
	err = t.db.QueryRow(ctx, redeemTicket, hashTicket(ticket)).Scan(&keyID, &valid)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && !valid:
		return "", models.ErrInvalidKey
	case err != nil: // the ticket may be valid
		return "", fmt.Errorf("%w: redeem ticket: %w", models.ErrUnavailable, err)
	default:
		return keyID, nil
	}
}

func hashTicket(ticket string) []byte {
	hash := sha256.Sum256([]byte(ticket))
	return hash[:]
}

// TicketPruneInterval is a suitable interval between calls of Prune.
const TicketPruneInterval = time.Minute

// Prune deletes one batch of expired tickets, by the database's clock, and reports
// whether there may be more. Errors: models.ErrUnavailable.
func (t *Tickets) Prune(ctx context.Context) (more bool, err error) {
	tag, err := t.db.Exec(ctx, `
		DELETE FROM tickets WHERE hash IN (SELECT hash FROM tickets WHERE expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $1)`, pruneTickets)
	return tag.RowsAffected() == pruneTickets, postgres.Classify("prune tickets", err)
}
