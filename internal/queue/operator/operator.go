// Package operator is what people do with the queue: look at groups and dead
// letters, redrive or discard dead letters, pause and resume groups. Every change
// is audited in its own transaction.
package operator

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// Service is the operators' side of a queue. It is safe for concurrent use.
type Service struct {
	db    *pgxpool.Pool
	queue *queue.Queue
}

// New returns the operators' side of q, which is stored in db.
func New(db *pgxpool.Pool, q *queue.Queue) *Service { return &Service{db: db, queue: q} }

// DeadLetters returns up to limit dead letters that match, newest first, starting
// after the position after (nil: the start). Errors: models.ErrUnavailable.
func (s *Service) DeadLetters(ctx context.Context, f models.DeadLetterFilter, after *models.Position, limit int) (models.Page[models.DeadLetter], error) {
	page, err := s.queue.DeadLetters(ctx, queue.Filter(f), after, limit)
	shown := models.Page[models.DeadLetter]{Next: page.Next}
	for _, d := range page.Data {
		shown.Data = append(shown.Data, show(d))
	}
	return shown, err
}

// show returns a dead letter as people may see it.
func show(d queue.DeadLetter) models.DeadLetter {
	shown := models.DeadLetter{
		ID: d.ID, Topic: d.Message.Topic, Group: d.Group, Payload: mask(d.Message.Payload),
		Reason: d.Reason, Attempts: d.Attempts, History: []models.DeliveryFailure{}, DeadAt: d.DeadAt.UTC(),
	}
	for _, f := range d.Message.History {
		shown.History = append(shown.History, models.DeliveryFailure(f))
	}
	return shown
}

// Redrive puts a dead letter back into its group, with its attempts reset and its
// history kept. Errors: models.ErrNotFound, models.ErrUnavailable, Conflict
// (not_redrivable).
func (s *Service) Redrive(ctx context.Context, id string) error {
	return s.end(ctx, "dead_letter.redrive", id, s.queue.Redrive)
}

// Discard deletes a dead letter. Errors: models.ErrNotFound, models.ErrUnavailable.
func (s *Service) Discard(ctx context.Context, id string) error {
	return s.end(ctx, "dead_letter.discard", id, s.queue.Discard)
}

// end takes a dead letter away by do.
func (s *Service) end(ctx context.Context, action, id string, do func(context.Context, pgx.Tx, string) (queue.DeadLetter, error)) error {
	return postgres.Classify(action, postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		d, err := do(ctx, tx, id)
		if err != nil {
			return err
		}
		return audit.Append(ctx, tx, models.AuditRecord{Action: action, Target: d.ID, Before: show(d)})
	}))
}

// redriven is what is audited of a redrive of many.
type redriven struct {
	Group    string `json:"group,omitempty"`
	Topic    string `json:"topic,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Redriven int    `json:"redriven"`
}

// RedriveAll puts the dead letters back that match now, the oldest first, and
// returns how many; a dry run only counts them. Those that can't be decoded stay.
// It takes several transactions: after an error, those of n are put back.
// Errors: models.ErrUnavailable.
func (s *Service) RedriveAll(ctx context.Context, f models.DeadLetterFilter, dryRun bool) (n int64, err error) {
	matching, err := s.queue.CountRedrivable(ctx, queue.Filter(f))
	if err != nil || dryRun {
		return matching, err
	}
	for n < matching { // those that fail again in the meantime aren't waited for
		batch := 0
		err = postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
			var err error
			if batch, err = s.queue.RedriveAll(ctx, tx, queue.Filter(f)); err != nil || batch == 0 {
				return err
			}
			return audit.Append(ctx, tx, models.AuditRecord{
				Action: "dead_letter.redrive", Target: "all", After: redriven{f.Group, f.Topic, queue.Redact(f.Reason), batch},
			})
		})
		if err != nil || batch == 0 {
			break
		}
		n += int64(batch)
	}
	return n, postgres.Classify("redrive dead letters", err)
}

// Groups returns the state of every group, by name. Errors: models.ErrUnavailable.
func (s *Service) Groups(ctx context.Context) ([]models.QueueGroup, error) {
	stats, err := s.queue.Stats(ctx)
	groups := make([]models.QueueGroup, len(stats))
	for i, g := range stats {
		groups[i] = models.QueueGroup{
			Group: g.Group, Ready: g.Ready + g.InBroker, Delayed: g.Delayed, InFlight: g.InFlight, Dead: g.Dead, OldestAge: g.OldestAge.Seconds(), Paused: g.Paused,
		}
	}
	return groups, err
}

// SetPaused pauses or resumes a group and returns its state. When a pause returns,
// no delivery starts on this instance, and within a second none on the others.
// Errors: models.ErrNotFound, models.ErrUnavailable.
func (s *Service) SetPaused(ctx context.Context, group string, paused bool) (models.QueueGroup, error) {
	action, set := "queue.pause", s.queue.Pause
	if !paused {
		action, set = "queue.resume", s.queue.Resume
	}
	err := set(ctx, group, func(ctx context.Context, tx pgx.Tx) error {
		return audit.Append(ctx, tx, models.AuditRecord{
			Action: action, Target: group, Before: map[string]bool{"paused": !paused}, After: map[string]bool{"paused": paused},
		})
	})
	if err != nil {
		return models.QueueGroup{}, err
	}
	groups, err := s.Groups(ctx)
	if i := slices.IndexFunc(groups, func(g models.QueueGroup) bool { return g.Group == group }); i >= 0 {
		return groups[i], err
	}
	return models.QueueGroup{Group: group, Paused: paused}, err // an unrouted group without messages
}
