package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/config"
	"ratelimiter/models"
)

// queuesListCommand lists the groups of the queue.
type queuesListCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run prints every group by name.
func (c *queuesListCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return readDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		service, err := queueOperator(db, to)
		if err != nil {
			return err
		}
		groups, err := service.Groups(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(to.out, handlers.QueueGroups{Data: groups})
		}
		_, err = io.WriteString(to.out, groupTable(groups))
		return err
	})
}

// groupTable returns groups as a table.
func groupTable(groups []models.QueueGroup) string {
	rows := [][]string{{"READY", "DELAYED", "IN FLIGHT", "DEAD", "OLDEST", "STATE", "GROUP"}}
	for _, g := range groups {
		state := "active"
		if g.Paused {
			state = "paused"
		}
		oldest := "-"
		if g.Ready > 0 {
			oldest = shortDuration(time.Duration(g.OldestAge * float64(time.Second)))
		}
		rows = append(rows, []string{
			strconv.FormatInt(g.Ready, 10), strconv.FormatInt(g.Delayed, 10), strconv.FormatInt(g.InFlight, 10), strconv.FormatInt(g.Dead, 10), oldest, state, printable(g.Group),
		})
	}
	return table(rows, 11, 11, 11, 11, 8, 8)
}

// groupArgument is a command on one group of the queue.
type groupArgument struct {
	Group string `arg:"" help:"The group, as 'queues list' shows it."`
	JSON  bool   `help:"Print JSON."`
}

// setPaused pauses or resumes the group and prints the result.
func (g *groupArgument) setPaused(ctx context.Context, cfg *config.Config, to *console, paused bool, done string) error {
	return withDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		service, err := queueOperator(db, to)
		if err != nil {
			return err
		}
		group, err := service.SetPaused(ctx, g.Group, paused)
		switch {
		case errors.Is(err, models.ErrNotFound):
			return fmt.Errorf("queue %q: not found; see 'ratelimiter queues list'", g.Group)
		case err != nil:
			return err
		case g.JSON:
			return printJSON(to.out, group)
		}
		_, err = fmt.Fprintf(to.out, "%s\n", fmt.Sprintf(done, printable(g.Group)))
		return err
	})
}

// queuesPauseCommand pauses a group.
type queuesPauseCommand struct{ groupArgument }

// Run pauses the group.
func (c *queuesPauseCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return c.setPaused(ctx, cfg, to, true, "Paused %s. Running servers start no delivery after 1 s.")
}

// queuesResumeCommand resumes a group.
type queuesResumeCommand struct{ groupArgument }

// Run resumes the group.
func (c *queuesResumeCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return c.setPaused(ctx, cfg, to, false, "Resumed %s. Running servers go on within seconds.")
}
