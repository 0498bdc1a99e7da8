package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
)

// Bounds of a queue that works.
const (
	maxWait     = time.Minute     // of a ready message of a group that isn't paused
	maxDelivery = 2 * time.Minute // after that a delivery is stuck: see the time limits of package queue
)

// checkQueue checks that messages flow.
func (d *diagnosis) checkQueue(ctx context.Context) finding {
	if d.pending {
		return finding{}
	}
	older, err := postgres.RiverPending(ctx, d.db)
	if err == nil && older {
		return warning("the tables of River, the engine of the queue, are older than this program", "Run 'ratelimiter migrate', or start this release with 'ratelimiter serve'.")
	}
	var stats []queue.GroupStats
	var stuck int64
	q, err := queue.New(d.db, nil, slog.New(slog.DiscardHandler))
	if err == nil {
		stats, err = q.Stats(ctx)
	}
	if err == nil {
		stuck, err = q.Stuck(ctx, maxDelivery)
	}
	if err != nil {
		return warning(oneLine(err), "Grant the role of DATABASE_URL the rights on its schema.")
	}
	return queueFinding(stats, stuck)
}

// queueFinding returns what the numbers of the groups mean.
func queueFinding(stats []queue.GroupStats, stuck int64) finding {
	var found, advice []string
	add := func(what, do string) {
		found = append(found, what)
		if !slices.Contains(advice, do) {
			advice = append(advice, do)
		}
	}
	for _, s := range stats {
		if s.Paused {
			add(fmt.Sprintf("%s is paused, %d messages wait.", s.Group, s.Ready), "'ratelimiter queues resume' ends a pause.")
		} else if s.OldestAge > maxWait {
			add(fmt.Sprintf("A message of %s waits for %s.", s.Group, s.OldestAge.Round(time.Second)), "Start a server, or more of them; look for errors in their logs.")
		}
		if s.Dead > 0 {
			add(fmt.Sprintf("%s has %d dead letters.", s.Group, s.Dead), "'ratelimiter dead-letters list' shows why; redrive or discard them.")
		}
	}
	if stuck > 0 {
		add(fmt.Sprintf("%d deliveries take longer than %s: their servers died or hang.", stuck, maxDelivery), "Start a server: it delivers them again.")
	}
	if len(found) > 0 {
		return warning(strings.Join(found, "\n"), strings.Join(advice, "\n"))
	}
	return passed("messages flow: none is stuck, old or dead")
}
