package catalog

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Every change is audited in its own transaction. After the commit it is put into
// the cache, so that it is in force here when the caller gets its answer, and
// announced to the other instances.

// Create stores a new product. Errors: KindConflict when another product has its
// SKU; models.ErrUnavailable.
func (p *Products) Create(ctx context.Context, spec models.NewProduct) (models.Product, error) {
	product, err := p.change(ctx, func(tx pgx.Tx) (changed, error) {
		created, err := one(ctx, tx, `
			INSERT INTO products (id, sku, name, description, price_amount, price_currency, stock) VALUES ($1, $2, $3, $4, $5, $6, $7)
			RETURNING `+columns, newID(), spec.SKU, spec.Name, spec.Description, spec.Price.Amount, spec.Price.Currency, spec.Stock)
		return changed{after: &created}, err
	})
	return product, conflict("create product", spec.SKU, err)
}

// Change lets apply change a product that meets the condition, and returns the
// result. apply may be called for a product that isn't changed then, and its error
// is returned. A change of the stock alone keeps the version. Errors:
// models.ErrNotFound; KindPreconditionFailed; KindConflict when another product has
// the SKU; models.ErrUnavailable.
func (p *Products) Change(ctx context.Context, id string, condition models.Precondition, apply func(*models.Product) error) (models.Product, error) {
	var sku string
	product, err := p.change(ctx, func(tx pgx.Tx) (changed, error) {
		before, err := lock(ctx, tx, id, condition)
		if err != nil {
			return changed{}, err
		}
		after := before
		if err := apply(&after); err != nil {
			return changed{}, err
		}
		sku = after.SKU
		after, err = update(ctx, tx, before, after)
		return changed{before: &before, after: &after}, err
	})
	return product, conflict("change product", sku, err)
}

// update writes what differs.
func update(ctx context.Context, tx pgx.Tx, before, after models.Product) (models.Product, error) {
	stockOnly := before
	stockOnly.Stock = after.Stock
	switch after {
	case before:
		return before, nil
	case stockOnly: // of no other column, so that it isn't in the change feed
		return one(ctx, tx, `UPDATE products SET stock = $2 WHERE id = $1 RETURNING `+columns, before.ID, after.Stock)
	default:
		return one(ctx, tx, `
			UPDATE products SET sku = $2, name = $3, description = $4, price_amount = $5, price_currency = $6, stock = $7,
			       version = version + 1, updated_at = now()
			WHERE id = $1 RETURNING `+columns,
			before.ID, after.SKU, after.Name, after.Description, after.Price.Amount, after.Price.Currency, after.Stock)
	}
}

// Delete removes a product that meets the condition from the shop. Its row remains,
// for the orders that have it. Errors: models.ErrNotFound; KindPreconditionFailed;
// models.ErrUnavailable.
func (p *Products) Delete(ctx context.Context, id string, condition models.Precondition) error {
	_, err := p.change(ctx, func(tx pgx.Tx) (changed, error) {
		before, err := lock(ctx, tx, id, condition)
		if err != nil {
			return changed{}, err
		}
		_, err = tx.Exec(ctx, `UPDATE products SET deleted_at = now(), version = version + 1 WHERE id = $1`, id)
		return changed{before: &before}, err
	})
	return postgres.Classify("delete product", err)
}

// changed is what a transaction has done to one product. The same before and after:
// nothing.
type changed struct {
	before, after *models.Product // nil: there was none; it was deleted
}

// change runs a transaction that changes one product, audits the change, caches the
// result and announces it. It returns the product after it.
func (p *Products) change(ctx context.Context, run func(pgx.Tx) (changed, error)) (models.Product, error) {
	var done changed
	var readAt time.Time
	committing := false
	err := postgres.InTx(ctx, p.db, func(tx pgx.Tx) (err error) {
		if done, err = run(tx); err != nil || done.isNothing() {
			return err
		}
		if err := audit.Append(ctx, tx, done.record()); err != nil {
			return err
		}
		readAt, committing = p.now(), true // the row is locked until the commit
		return nil
	})
	if committing {
		p.applied(ctx, done, readAt, err)
	}
	if err != nil || done.after == nil {
		return models.Product{}, err
	}
	return *done.after, nil
}

// applied caches a change and announces it. After an error of the commit, the
// change may have been made.
func (p *Products) applied(ctx context.Context, done changed, readAt time.Time, err error) {
	event := models.ChangeEvent{Kind: models.ChangedProduct, ID: done.id()}
	if err != nil || done.after == nil {
		p.Invalidate(event)
	} else {
		event.Version = done.after.Version
		p.put(*done.after, readAt)
	}
	p.cfg.Invalidator.Invalidate(ctx, event)
}

func (c changed) isNothing() bool { return c.before != nil && c.after != nil && *c.before == *c.after }

func (c changed) id() string {
	if c.before != nil {
		return c.before.ID
	}
	return c.after.ID
}

// record describes the change for the audit.
func (c changed) record() models.AuditRecord {
	record := models.AuditRecord{Action: "product.update", Target: c.id()}
	if c.before == nil {
		record.Action = "product.create"
	} else {
		record.Before = audited{*c.before, c.before.Version}
	}
	if c.after == nil {
		record.Action = "product.delete"
	} else {
		record.After = audited{*c.after, c.after.Version}
	}
	return record
}

// audited is a product with its version.
type audited struct {
	models.Product
	Version int64 `json:"version"`
}

// lock returns a product that meets the condition, locked against other changes.
// Orders of it aren't delayed.
func lock(ctx context.Context, tx pgx.Tx, id string, condition models.Precondition) (models.Product, error) {
	product, err := one(ctx, tx, selectProduct+`AND id = $1 FOR NO KEY UPDATE`, id)
	if err != nil {
		return models.Product{}, err
	}
	return product, condition.Check(product.Version)
}

// conflict classifies an error of a write; that of a duplicate SKU is KindConflict.
func conflict(operation, sku string, err error) error {
	if postgres.IsDuplicate(err, "products_sku") {
		return models.Conflict("sku_in_use", fmt.Sprintf("Another product has the SKU %q. Change that product, or choose another SKU.", sku))
	}
	return postgres.Classify(operation, err)
}

// newID returns an opaque id of 26 random characters.
func newID() string { return "prd_" + strings.ToLower(rand.Text()) }
