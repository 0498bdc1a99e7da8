package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// DB is where plans are kept: a pool, or a transaction to join.
type DB interface {
	postgres.Beginner
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Plans keeps plans in Postgres. Every change is audited in its own
// transaction, and announced when that is committed.
type Plans struct {
	db       DB
	announce models.Announcer // nil: nobody listens
}

// NewPlans returns the plans in db. Changes are announced to announce, which
// may be nil; where db is a transaction, it is for its owner to announce them.
func NewPlans(db DB, announce models.Announcer) *Plans {
	return &Plans{db: db, announce: announce}
}

const selectPlan = `SELECT name, description, policies, version, created_at, updated_at FROM plans `

// List returns up to limit plans by name, from behind after (nil: the start).
// Errors: models.ErrUnavailable.
func (p *Plans) List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Plan], error) {
	from := ""
	if after != nil {
		from = after.ID
	}
	rows, err := p.db.Query(ctx, selectPlan+`WHERE name > $1 ORDER BY name LIMIT $2`, from, limit+1)
	if err != nil {
		return models.Page[models.Plan]{}, failure("list plans", err)
	}
	plans, err := pgx.CollectRows(rows, pgx.RowToStructByName[models.Plan])
	if err != nil {
		return models.Page[models.Plan]{}, failure("list plans", err)
	}
	return models.PageOf(plans, limit, func(last models.Plan) models.Position { return models.Position{ID: last.Name} }), nil
}

// Get returns one plan. Errors: models.ErrNotFound, models.ErrUnavailable.
func (p *Plans) Get(ctx context.Context, name string) (models.Plan, error) {
	rows, err := p.db.Query(ctx, selectPlan+`WHERE name = $1`, name)
	if err != nil {
		return models.Plan{}, failure("read plan", err)
	}
	plan, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[models.Plan])
	if errors.Is(err, pgx.ErrNoRows) || postgres.IsUntranslatable(err) {
		return models.Plan{}, fmt.Errorf("plan %q: %w", name, models.ErrNotFound)
	}
	return plan, failure("read plan", err)
}

// Put makes a plan, or makes it what it shall be; created tells which. A plan
// that is so already stays in its version. Errors: *models.StatusError (412,
// not the expected version), *models.InvalidError (a key's quota would have too
// many policies), models.ErrUnavailable.
func (p *Plans) Put(ctx context.Context, spec models.NewPlan, expected models.Expected) (plan models.Plan, created bool, err error) {
	err = p.change(ctx, spec.Name, func(tx pgx.Tx, before *models.Plan) (*models.Plan, error) {
		created = before == nil
		switch {
		case created:
			if err := expected.Check(0); err != nil {
				return nil, err
			}
			plan, err = one(ctx, tx, `
				INSERT INTO plans (name, description, policies) VALUES ($1, $2, $3)
				RETURNING name, description, policies, version, created_at, updated_at`,
				spec.Name, spec.Description, spec.Policies)
			return &plan, err
		default:
			if err := expected.Check(before.Version); err != nil {
				return nil, err
			}
			if err := fitsKeys(ctx, tx, spec); err != nil {
				return nil, err
			}
			if same(*before, spec) {
				plan = *before
				return before, nil
			}
			plan, err = one(ctx, tx, `
				UPDATE plans SET description = $2, policies = $3, version = version + 1, updated_at = now()
				WHERE name = $1
				RETURNING name, description, policies, version, created_at, updated_at`,
				spec.Name, spec.Description, spec.Policies)
			return &plan, err
		}
	})
	return plan, created, failure("put plan", err)
}

// Delete removes a plan. Errors: models.ErrNotFound; *models.StatusError (409,
// keys use it; 412, not the expected version); models.ErrUnavailable.
func (p *Plans) Delete(ctx context.Context, name string, expected models.Expected) error {
	err := p.change(ctx, name, func(tx pgx.Tx, before *models.Plan) (*models.Plan, error) {
		if before == nil {
			return nil, fmt.Errorf("plan %q: %w", name, models.ErrNotFound)
		}
		if err := expected.Check(before.Version); err != nil {
			return nil, err
		}
		var keys int64
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM api_keys WHERE plan = $1`, name).Scan(&keys); err != nil {
			return nil, err
		}
		if keys > 0 {
			return nil, models.Conflict(fmt.Sprintf("%d keys are on this plan, revoked and expired ones included: "+
				"GET /v1/admin/keys?plan=%s lists them. Give them another plan first.", keys, name))
		}
		_, err := tx.Exec(ctx, `DELETE FROM plans WHERE name = $1`, name)
		return nil, err
	})
	return failure("delete plan", err)
}

// change locks the plan of a name, if there is one, lets apply change it,
// audits what came of it, commits and announces. apply returns the plan as it
// is then; the one that it was given: nothing has changed.
func (p *Plans) change(ctx context.Context, name string, apply func(tx pgx.Tx, before *models.Plan) (*models.Plan, error)) error {
	var version int64
	changed := false
	err := postgres.InTx(ctx, p.db, func(tx pgx.Tx) error {
		before, err := lock(ctx, tx, name)
		if err != nil {
			return err
		}
		after, err := apply(tx, before)
		if err != nil || after == before {
			return err
		}
		changed = true
		if after != nil {
			version = after.Version
		}
		return audit.Append(ctx, tx, auditOf(name, before, after))
	})
	// A commit that failed may have happened.
	if changed && p.announce != nil {
		p.announce.Changed(ctx, models.ChangedPlan, name, version)
	}
	return err
}

// planLock is the first number of the advisory locks by which those who make or
// change a plan of one name wait for each other: a row that isn't there yet
// can't be locked.
const planLock = 20_260_310

// lock returns the plan of a name, locked against every change and against new
// keys on it; nil: there is none.
func lock(ctx context.Context, tx pgx.Tx, name string) (*models.Plan, error) {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, hashtext($2))`, planLock, name); err != nil {
		if postgres.IsUntranslatable(err) {
			return nil, fmt.Errorf("plan %q: %w", name, models.ErrNotFound)
		}
		return nil, err
	}
	plan, err := one(ctx, tx, selectPlan+`WHERE name = $1 FOR UPDATE`, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &plan, err
}

// one runs a query that gives exactly one plan.
func one(ctx context.Context, tx pgx.Tx, query string, args ...any) (models.Plan, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return models.Plan{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[models.Plan])
}

// same reports whether a plan is already what it shall be.
func same(plan models.Plan, spec models.NewPlan) bool {
	is, err := ratelimit.ParsePolicies(plan.Policies)
	shall, fault := ratelimit.ParsePolicies(spec.Policies)
	return err == nil && fault == nil && plan.Description == spec.Description && slices.Equal(is, shall)
}

// auditOf tells a change of a plan as the audit keeps it.
func auditOf(name string, before, after *models.Plan) models.Change {
	change := models.Change{Target: name}
	switch {
	case before == nil:
		change.Action = "plan.create"
	case after == nil:
		change.Action = "plan.delete"
	default:
		change.Action = "plan.replace"
	}
	if before != nil {
		change.Before = auditedPlan(*before)
	}
	if after != nil {
		change.After = auditedPlan(*after)
	}
	return change
}

func auditedPlan(plan models.Plan) any {
	return struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Policies    json.RawMessage `json:"policies"`
		Version     int64           `json:"version"`
	}{plan.Name, plan.Description, plan.Policies, plan.Version}
}
