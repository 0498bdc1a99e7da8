// Package catalog stores the products of the sample shop.
package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Products reads products from Postgres.
type Products struct {
	db *pgxpool.Pool
}

// NewProducts returns the products stored in db.
func NewProducts(db *pgxpool.Pool) *Products { return &Products{db: db} }

const selectProduct = `
	SELECT id, sku, name, description, price_amount, price_currency, stock, updated_at
	FROM products `

// List returns up to limit products ordered by id, starting after the position
// after (nil: the start). Errors: models.ErrUnavailable.
func (p *Products) List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Product], error) {
	from := ""
	if after != nil {
		from = after.ID
	}
	rows, err := p.db.Query(ctx, selectProduct+`WHERE id > $1 ORDER BY id LIMIT $2`, from, limit+1)
	if err != nil {
		return models.Page[models.Product]{}, postgres.Classify("list products", err)
	}
	return postgres.CollectPage("list products", rows, limit, scanProduct, func(last models.Product) models.Position { return models.Position{ID: last.ID} })
}

// Get returns one product. Errors: models.ErrNotFound, models.ErrUnavailable.
func (p *Products) Get(ctx context.Context, id string) (models.Product, error) {
	rows, err := p.db.Query(ctx, selectProduct+`WHERE id = $1`, id)
	if err != nil {
		return models.Product{}, postgres.Classify("read product", err)
	}
	product, err := pgx.CollectExactlyOneRow(rows, scanProduct)
	return product, postgres.Classify("read product", err)
}

func scanProduct(row pgx.CollectableRow) (models.Product, error) {
	var p models.Product
	err := row.Scan(&p.ID, &p.SKU, &p.Name, &p.Description, &p.Price.Amount, &p.Price.Currency, &p.Stock, &p.UpdatedAt)
	return p, err
}
