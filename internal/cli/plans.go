package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	yaml "go.yaml.in/yaml/v4"

	"ratelimiter/handlers"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/config"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/models"
)

// plansListCommand lists the plans.
type plansListCommand struct {
	JSON bool `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// Run prints every plan by name.
func (p *plansListCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return withDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
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

// plansApplyCommand applies a file of plans.
type plansApplyCommand struct {
	File   string `arg:"" help:"YAML or JSON: a list 'plans' of name, description and policies. Other plans stay unchanged."`
	DryRun bool   `env:"RATELIMITER_DRY_RUN" help:"Print the differences and change nothing."`
	JSON   bool   `env:"RATELIMITER_JSON" help:"Print JSON."`
}

var errDryRun = errors.New("dry run")

// Run applies the whole file or nothing, and prints the differences. A dry run is
// rolled back, so that it finds every fault.
func (p *plansApplyCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	specs, err := readPlanFile(p.File)
	if err != nil {
		return err
	}
	result := planChanges{DryRun: p.DryRun}
	err = withDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
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

// readPlanFile reads and validates a file of plans. The error lists every fault.
func readPlanFile(path string) ([]models.NewPlan, error) {
	text, err := os.ReadFile(path)
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

// fromYAML converts one YAML 1.2 document to JSON. Merge keys are resolved.
func fromYAML(text []byte) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("is empty")
		}
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("contains several documents: put all plans into one list")
	}
	normalizeScalars(&document)
	var value any
	if err := document.Decode(&value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// leadingZero matches an integer that is decimal in YAML 1.2, and that the
// decoder reads as octal, as in YAML 1.1.
var leadingZero = regexp.MustCompile(`^([-+]?)0+([0-9]+)$`)

// normalizeScalars makes the decoder read integers with leading zeros as decimal,
// and dates as strings.
func normalizeScalars(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode {
		switch node.ShortTag() {
		case "!!int":
			node.Value = leadingZero.ReplaceAllString(node.Value, "$1$2")
		case "!!timestamp":
			node.Tag = "!!str"
		}
	}
	for _, child := range node.Content {
		normalizeScalars(child)
	}
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
