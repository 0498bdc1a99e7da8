package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/config"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/models"
)

// plansListCommand lists the plans.
type plansListCommand struct {
	JSON bool `help:"Print JSON, which 'plans apply' accepts."`
}

// Run prints every plan by name.
func (p *plansListCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return readDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		plans := quota.NewPlans(db, changefeed.NoCaches{})
		list, err := readAll(func(after *models.Position) (models.Page[models.Plan], error) {
			return plans.List(ctx, after, listPage)
		})
		if err != nil {
			return err
		}
		shown := make([]handlers.Plan, len(list))
		for i, plan := range list {
			shown[i] = handlers.ShowPlan(plan)
		}
		if p.JSON {
			return printJSON(to.out, map[string]any{"data": shown})
		}
		table := tabwriter.NewWriter(to.out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "NAME\tVERSION\tPOLICIES\tDESCRIPTION") // a tabwriter returns its error from Flush
		for _, plan := range shown {
			names := make([]string, len(plan.Policies))
			for i, policy := range plan.Policies {
				names[i] = policy.Name
			}
			_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", plan.Name, plan.Version, strings.Join(names, ","), printable(plan.Description))
		}
		return table.Flush()
	})
}

// plansShowCommand shows a plan.
type plansShowCommand struct {
	Name string `arg:"" help:"The plan's name, as 'plans list' shows it."`
	JSON bool   `help:"Print JSON."`
}

// Run prints the plan.
func (p *plansShowCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return readDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		plan, err := quota.NewPlans(db, changefeed.NoCaches{}).Get(ctx, p.Name)
		if errors.Is(err, models.ErrNotFound) {
			return fmt.Errorf("plan %q: not found; see 'ratelimiter plans list'", p.Name)
		}
		if err != nil {
			return err
		}
		if p.JSON {
			return printJSON(to.out, handlers.ShowPlan(plan))
		}
		table := tabwriter.NewWriter(to.out, 0, 0, 2, ' ', 0)
		line := func(name string, value any) { _, _ = fmt.Fprintf(table, "%s\t%v\n", name, value) } // a tabwriter returns its error from Flush
		line("name", plan.Name)
		line("description", printable(plan.Description))
		line("version", plan.Version)
		line("created", plan.CreatedAt.Format(time.RFC3339))
		line("updated", plan.UpdatedAt.Format(time.RFC3339))
		for _, policy := range plan.Policies {
			line("policy", policy.Name+": "+describePolicy(policy))
		}
		return table.Flush()
	})
}

// plansApplyCommand applies a file of plans.
type plansApplyCommand struct {
	File   string `arg:"" predictor:"file" help:"YAML or JSON: a list 'plans' of name, description and policies, or the output of 'plans list --json'. - is standard input. Other plans stay unchanged."`
	DryRun bool   `help:"Print the differences and change nothing."`
	JSON   bool   `help:"Print JSON."`
}

var errDryRun = errors.New("dry run")

// Run applies the whole file or nothing, and prints the differences. A dry run is
// rolled back, so that it finds every fault.
func (p *plansApplyCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	specs, err := readPlans(p.File, to.in)
	if err != nil {
		return err
	}
	result, open := planChanges{DryRun: p.DryRun}, withDatabase
	if p.DryRun {
		open = readDatabase
	}
	err = open(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		return postgres.InTx(ctx, db, func(tx pgx.Tx) error {
			if result.Plans, err = applyPlans(ctx, quota.NewPlans(tx, changefeed.NoCaches{}), specs); err != nil {
				return err
			}
			if p.DryRun {
				return errDryRun
			}
			return nil
		})
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return err
	}
	if p.JSON {
		return printJSON(to.out, result)
	}
	_, err = io.WriteString(to.out, result.String())
	return err
}

// applyPlans puts every plan and returns the differences.
func applyPlans(ctx context.Context, plans *quota.Plans, specs []models.NewPlan) ([]planChange, error) {
	changes := make([]planChange, len(specs))
	for i, spec := range specs {
		before, err := plans.Get(ctx, spec.Name)
		if err != nil && !errors.Is(err, models.ErrNotFound) {
			return nil, err
		}
		after, _, err := plans.Put(ctx, spec, models.Precondition{})
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", spec.Name, err)
		}
		changes[i] = comparePlans(before, after)
	}
	return changes, nil
}

// readPlans reads and validates a file of plans, or standard input. The error lists
// every fault.
func readPlans(path string, stdin io.Reader) ([]models.NewPlan, error) {
	text, err := readInput(path, stdin)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(filepath.Ext(path), ".json") {
		if text, err = fromYAML(text); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	specs, err := handlers.ParsePlans(text)
	invalid, ok := errors.AsType[*models.Error](err)
	if !ok {
		return specs, err
	}
	lines := []error{fmt.Errorf("%s: nothing was applied", path)}
	for _, f := range invalid.Faults {
		lines = append(lines, fmt.Errorf("  /%s %s", strings.Join(f.Path, "/"), f.Message))
	}
	return nil, errors.Join(lines...)
}

// planChanges are the differences between a file and the database.
type planChanges struct {
	DryRun bool         `json:"dry_run"`
	Plans  []planChange `json:"plans"`
}

// planChange is the difference of one plan.
type planChange struct {
	Name        string         `json:"name"`
	Change      string         `json:"change"`      // create, replace or none
	Description *[2]string     `json:"description"` // before and after; nil: unchanged
	Policies    []policyChange `json:"policies"`    // changed ones
}

// policyChange is the difference of one policy.
type policyChange struct {
	Name   string          `json:"name"`
	Change string          `json:"change"` // add, remove or change
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}
