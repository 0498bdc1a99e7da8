package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/config"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/operator"
	"ratelimiter/models"
)

// queueOperator returns the operators' side of the queue.
func queueOperator(db *pgxpool.Pool, to *console) (*operator.Service, error) {
	q, err := queue.New(db, nil, to.log) // no routes: it publishes nothing
	if err != nil {
		return nil, err
	}
	return operator.New(db, q), nil
}

// deadLetterFilter selects dead letters.
type deadLetterFilter struct {
	Group  string `help:"Only those of this group."`
	Topic  string `help:"Only those of this topic."`
	Reason string `help:"Only those whose reason contains this text."`
}

// deadLettersListCommand lists dead letters.
type deadLettersListCommand struct {
	deadLetterFilter
	JSON bool `help:"Print JSON, with payload and history."`
}

// Run prints the dead letters, newest first.
func (c *deadLettersListCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return readDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		service, err := queueOperator(db, to)
		if err != nil {
			return err
		}
		letters, err := readAll(func(after *models.Position) (models.Page[models.DeadLetter], error) {
			page, err := service.DeadLetters(ctx, models.DeadLetterFilter(c.deadLetterFilter), after, listPage)
			for i := range page.Data {
				if !c.JSON { // the table has neither, and there may be a million
					page.Data[i].Payload, page.Data[i].History = nil, nil
				}
			}
			return page, err
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(to.out, map[string]any{"data": append([]models.DeadLetter{}, letters...)})
		}
		_, err = io.WriteString(to.out, deadLetterTable(letters, time.Now()))
		return err
	})
}

// deadLetterTable returns dead letters as a table of tableWidth. Longer texts are
// cut; the reason gets the rest.
func deadLetterTable(letters []models.DeadLetter, now time.Time) string {
	rows := [][]string{{"ID", "DIED", "ATTEMPTS", "GROUP", "TOPIC", "REASON"}}
	for _, d := range letters {
		rows = append(rows, []string{
			d.ID, relative(&d.DeadAt, now), strconv.Itoa(d.Attempts), printable(d.Group), printable(d.Topic), printable(d.Reason),
		})
	}
	return table(rows, 20, 10, 10, 12, 18)
}

// table returns rows as columns of at most these widths, gaps of 2 included, and a
// last one with the rest of tableWidth.
func table(rows [][]string, most ...int) string {
	rest := tableWidth
	for column, width := range most {
		used := 0
		for _, row := range rows {
			used = max(used, utf8.RuneCountInString(row[column])+2)
		}
		most[column] = min(used, width)
		rest -= most[column]
	}
	var b strings.Builder
	for _, row := range rows {
		for column, width := range most {
			fmt.Fprintf(&b, "%-*s", width, cut(row[column], width-2))
		}
		b.WriteString(cut(row[len(most)], rest) + "\n")
	}
	return b.String()
}

// deadLettersRedriveCommand puts dead letters back.
type deadLettersRedriveCommand struct {
	ID string `arg:"" optional:"" help:"One dead letter's id, as 'dead-letters list' shows it."`
	deadLetterFilter
	All    bool `help:"All dead letters."`
	DryRun bool `help:"Count them and change nothing."`
	JSON   bool `help:"Print JSON."`
}

// Validate checks that the dead letters are selected in one way.
func (c *deadLettersRedriveCommand) Validate() error {
	ways := 0
	for _, way := range []bool{c.ID != "", c.deadLetterFilter != deadLetterFilter{}, c.All} {
		if way {
			ways++
		}
	}
	if ways != 1 {
		return errors.New("give one of: an id; --group, --topic or --reason; --all")
	}
	if c.ID != "" && c.DryRun {
		return errors.New("--dry-run doesn't apply to one dead letter")
	}
	return nil
}

// Run redrives the dead letters and prints how many.
func (c *deadLettersRedriveCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	open, done := withDatabase, "Redrove"
	if c.DryRun {
		open, done = readDatabase, "Would redrive"
	}
	return open(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		service, err := queueOperator(db, to)
		if err != nil {
			return err
		}
		n := int64(1)
		if c.ID != "" {
			err = noDeadLetter(c.ID, service.Redrive(ctx, c.ID))
		} else {
			n, err = service.RedriveAll(ctx, models.DeadLetterFilter(c.deadLetterFilter), c.DryRun)
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(to.out, handlers.Redriven{Redriven: n})
		}
		_, err = fmt.Fprintf(to.out, "%s %d dead letters.\n", done, n)
		return err
	})
}

// noDeadLetter names the id that there is no dead letter with.
func noDeadLetter(id string, err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return fmt.Errorf("dead letter %q: not found; see 'ratelimiter dead-letters list'", id)
	}
	return err
}

// deadLettersDiscardCommand deletes a dead letter.
type deadLettersDiscardCommand struct {
	ID string `arg:"" help:"The dead letter's id, as 'dead-letters list' shows it."`
}

// Run deletes the dead letter.
func (c *deadLettersDiscardCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return withDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		service, err := queueOperator(db, to)
		if err == nil {
			err = noDeadLetter(c.ID, service.Discard(ctx, c.ID))
		}
		if err == nil {
			_, err = fmt.Fprintf(to.out, "Discarded %s.\n", c.ID)
		}
		return err
	})
}
