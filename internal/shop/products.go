// Package shop keeps the sample resources: products, and the orders that
// callers place for them. Orders belong to an owner; nobody else sees them.
package shop

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Products reads the shop's products.
type Products struct {
	db *pgxpool.Pool
}

// NewProducts returns the products in db.
func NewProducts(db *pgxpool.Pool) *Products { return &Products{db: db} }

const selectProduct = `
	SELECT id, sku, name, description, price_amount, price_currency, stock, updated_at
	FROM products `

// List returns up to limit products in the order of their ids, from behind
// after (nil: the start). Errors: models.ErrUnavailable.
func (p *Products) List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Product], error) {
	from := ""
	if after != nil {
		from = after.ID
	}
	rows, err := p.db.Query(ctx, selectProduct+`WHERE id > $1 ORDER BY id LIMIT $2`, from, limit+1)
	if err != nil {
		return models.Page[models.Product]{}, failure("list products", err)
	}
	products, err := pgx.CollectRows(rows, scanProduct)
	if err != nil {
		return models.Page[models.Product]{}, failure("list products", err)
	}
	return models.PageOf(products, limit, func(last models.Product) models.Position { return models.Position{ID: last.ID} }), nil
}

// Get returns one product. Errors: models.ErrNotFound, models.ErrUnavailable.
func (p *Products) Get(ctx context.Context, id string) (models.Product, error) {
	rows, err := p.db.Query(ctx, selectProduct+`WHERE id = $1`, id)
	if err != nil {
		return models.Product{}, failure("read product", err)
	}
	product, err := pgx.CollectExactlyOneRow(rows, scanProduct)
	return product, found("product", id, err)
}

func scanProduct(row pgx.CollectableRow) (models.Product, error) {
	var p models.Product
	err := row.Scan(&p.ID, &p.SKU, &p.Name, &p.Description, &p.Price.Amount, &p.Price.Currency, &p.Stock, &p.UpdatedAt)
	return p, err
}

// found turns the error of a read of one row into the kinds that callers know.
func found(noun, id string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) || postgres.IsUntranslatable(err) {
		return fmt.Errorf("%s %q: %w", noun, id, models.ErrNotFound)
	}
	return failure("read "+noun, err)
}

// failure wraps an error of the database; see models.Failure.
func failure(doing string, err error) error {
	return models.Failure(doing, err, postgres.IsUnavailable(err))
}
