// Package catalog stores the products of the sample shop. Reads are served from
// memory by a write-through cache; see cache.go for how current they are.
package catalog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Config configures Products.
type Config struct {
	Stale       time.Duration                                       // how long products are served while Postgres can't be read
	Encode      func(models.Product) (models.Representation, error) // how a product is sent
	Invalidator models.Invalidator                                  // announces changes to the other instances
}

// Products stores products in Postgres and caches them. It is safe for concurrent
// use.
type Products struct {
	db          *pgxpool.Pool
	cfg         Config
	now         func() time.Time
	products    *cache.WriteThrough[string, *cachedProduct]
	pages       *cache.Aside[pageKey, *cachedPage]
	generations atomic.Uint64 // changes of any product so far
}

// New returns the products stored in db. The caller must Close it.
func New(db *pgxpool.Pool, cfg Config) (*Products, error) {
	p := &Products{db: db, cfg: cfg, now: time.Now}
	return p, p.newCaches()
}

const columns = `id, sku, name, description, price_amount, price_currency, stock, updated_at, version`

const selectProduct = `SELECT ` + columns + ` FROM products WHERE deleted_at IS NULL `

// List returns up to limit products ordered by id, starting after the position
// after (nil: the start). The page must not be changed. Errors:
// models.ErrUnavailable.
func (p *Products) List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Product], error) {
	key := pageKey{limit: limit}
	if after != nil {
		key.after = after.ID
	}
	cached, err := p.pages.Get(ctx, key, p.now(), func(ctx context.Context) (*cachedPage, error) { return p.loadPage(ctx, key) })
	if err != nil {
		return models.Page[models.Product]{}, postgres.Classify("list products", err)
	}
	return cached.page, nil
}

// maxID is longer than every id: what is longer isn't looked up and takes no room
// in the cache.
const maxID = 64

// Get returns one product as it is sent. Errors: models.ErrNotFound,
// models.ErrUnavailable.
func (p *Products) Get(ctx context.Context, id string) (*models.Representation, error) {
	if len(id) > maxID {
		return nil, models.ErrNotFound
	}
	cached, err := p.products.Get(ctx, id, p.now())
	if err != nil {
		return nil, postgres.Classify("read product", err)
	}
	return &cached.representation, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// one runs a query that returns exactly one product.
func one(ctx context.Context, db querier, query string, args ...any) (models.Product, error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return models.Product{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanProduct)
}

func scanProduct(row pgx.CollectableRow) (models.Product, error) {
	var p models.Product
	err := row.Scan(&p.ID, &p.SKU, &p.Name, &p.Description, &p.Price.Amount, &p.Price.Currency, &p.Stock, &p.UpdatedAt, &p.Version)
	return p, err
}
