package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// DB is a pool, or a transaction to join.
type DB interface {
	postgres.Beginner
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Plans stores plans in Postgres. Every change is audited in its own transaction
// and announced to the invalidator after the commit.
type Plans struct {
	db          DB
	invalidator models.Invalidator
}

// NewPlans returns the plans stored in db and announces changes to invalidator.
func NewPlans(db DB, invalidator models.Invalidator) *Plans {
	return &Plans{db: db, invalidator: invalidator}
}

const selectPlan = `SELECT name, description, policies, version, created_at, updated_at FROM plans `

// List returns up to limit plans ordered by name, starting after the position
// after (nil: the start). Errors: models.ErrUnavailable.
func (p *Plans) List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Plan], error) {
	from := ""
	if after != nil {
		from = after.ID
	}
	rows, err := p.db.Query(ctx, selectPlan+`WHERE name > $1 ORDER BY name LIMIT $2`, from, limit+1)
	if err != nil {
		return models.Page[models.Plan]{}, postgres.Classify("list plans", err)
	}
	return postgres.CollectPage("list plans", rows, limit, pgx.RowToStructByName[models.Plan], func(last models.Plan) models.Position {
		return models.Position{ID: last.Name}
	})
}

// Get returns one plan. Errors: models.ErrNotFound, models.ErrUnavailable.
func (p *Plans) Get(ctx context.Context, name string) (models.Plan, error) {
	rows, err := p.db.Query(ctx, selectPlan+`WHERE name = $1`, name)
	if err != nil {
		return models.Plan{}, postgres.Classify("read plan", err)
	}
	plan, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[models.Plan])
	return plan, postgres.Classify("read plan", err)
}

// Put creates or replaces a plan; created reports which. An unchanged plan keeps
// its version. Errors: KindPreconditionFailed; KindInvalid when the time of
// creation differs or a key's quota would have too many policies; models.ErrUnavailable.
func (p *Plans) Put(ctx context.Context, spec models.NewPlan, condition models.Precondition) (plan models.Plan, created bool, err error) {
	err = p.change(ctx, spec.Name, func(tx pgx.Tx, before *models.Plan) (*models.Plan, error) {
		created = before == nil
		switch {
		case created:
			if err := condition.Check(0); err != nil {
				return nil, err
			}
			plan, err = one(ctx, tx, `
				INSERT INTO plans (name, description, policies) VALUES ($1, $2, $3)
				RETURNING name, description, policies, version, created_at, updated_at`,
				spec.Name, spec.Description, spec.Policies)
			return &plan, err
		default:
			if err := condition.Check(before.Version); err != nil {
				return nil, err
			}
			if spec.CreatedAt != nil && !spec.CreatedAt.Equal(before.CreatedAt) {
				var faults models.Faults
				faults.Add("read_only", "can't be changed", "created_at")
				return nil, faults.Err()
			}
			if err := checkKeys(ctx, tx, spec); err != nil {
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
	return plan, created, postgres.Classify("put plan", err)
}

// Delete removes a plan. Errors: models.ErrNotFound; KindConflict while keys use
// it; KindPreconditionFailed; models.ErrUnavailable.
func (p *Plans) Delete(ctx context.Context, name string, condition models.Precondition) error {
	err := p.change(ctx, name, func(tx pgx.Tx, before *models.Plan) (*models.Plan, error) {
		if before == nil {
			return nil, fmt.Errorf("plan %q: %w", name, models.ErrNotFound)
		}
		if err := condition.Check(before.Version); err != nil {
			return nil, err
		}
		var keys int64
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM api_keys WHERE plan = $1`, name).Scan(&keys); err != nil {
			return nil, err
		}
		if keys > 0 {
			return nil, models.Conflict("plan_in_use", fmt.Sprintf("%d keys are on this plan, revoked and expired ones included. "+
				"Move them to another plan first.", keys))
		}
		_, err := tx.Exec(ctx, `DELETE FROM plans WHERE name = $1`, name)
		return nil, err
	})
	return postgres.Classify("delete plan", err)
}

// change locks the plan with this name, if it exists, lets apply change it,
// audits the change, commits and announces it. apply returns the new state; if
// it returns before, nothing has changed.
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
	if changed { // a failed commit may have succeeded
		p.invalidator.Invalidate(ctx, models.ChangeEvent{Kind: models.ChangedPlan, ID: name, Version: version})
	}
	return err
}

// planLock is the first number of the advisory locks that serialize changes of
// plans with the same name: a row that doesn't exist yet can't be locked.
const planLock = 20_260_310

// lock returns the plan with this name, locked against changes and against new
// keys on it; nil: there is none.
func lock(ctx context.Context, tx pgx.Tx, name string) (*models.Plan, error) {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, hashtext($2))`, planLock, name); err != nil {
		return nil, postgres.Classify("lock plan", err)
	}
	plan, err := one(ctx, tx, selectPlan+`WHERE name = $1 FOR UPDATE`, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &plan, err
}

// one runs a query that returns exactly one plan.
func one(ctx context.Context, tx pgx.Tx, query string, args ...any) (models.Plan, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return models.Plan{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[models.Plan])
}

// same reports whether a plan is in the wanted state already.
func same(plan models.Plan, spec models.NewPlan) bool {
	return plan.Description == spec.Description && slices.Equal(plan.Policies, spec.Policies)
}

// auditOf describes a change of a plan for the audit.
func auditOf(name string, before, after *models.Plan) models.AuditRecord {
	record := models.AuditRecord{Target: name}
	switch {
	case before == nil:
		record.Action = "plan.create"
	case after == nil:
		record.Action = "plan.delete"
	default:
		record.Action = "plan.replace"
	}
	if before != nil {
		record.Before = auditedPlan(*before)
	}
	if after != nil {
		record.After = auditedPlan(*after)
	}
	return record
}

func auditedPlan(plan models.Plan) any {
	return struct {
		Name        string             `json:"name"`
		Description string             `json:"description"`
		Policies    []ratelimit.Policy `json:"policies"`
		Version     int64              `json:"version"`
	}{plan.Name, plan.Description, plan.Policies, plan.Version}
}
