package catalog

import (
	"context"
	"errors"
	"time"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// maxAge is how old a product is served while Postgres can be read. Workers change
// stock up to a thousand times a second, which isn't announced to other instances,
// so that a product in use is read about once a second. Other changes are announced
// by the change feed, and maxAge bounds how long they take without it.
const maxAge = time.Second

// Bounds of the caches. The sizes are in bytes; a product takes 0.5 to 20 KB, a
// page up to 300 KB.
const (
	maxProductBytes = 32 << 20
	maxPageBytes    = 16 << 20
	maxNegative     = 10_000
	negativeTTL     = 5 * time.Second
	loadTimeout     = 2 * time.Second
	entryBytes      = 500 // of an entry with one product, apart from its texts
)

// cachedProduct is a product as it is sent.
type cachedProduct struct {
	representation models.Representation
	version        int64
	readAt         time.Time // of the row
}

// pageKey identifies a page of the list.
type pageKey struct {
	after string // id; empty: the start
	limit int
}

type cachedPage struct {
	page       models.Page[models.Product]
	generation uint64    // of Products.generations before the query
	readAt     time.Time // of the rows
}

func (p *Products) newCaches() (err error) {
	p.products, err = cache.NewWriteThrough(cache.Options[*cachedProduct]{
		Size: maxProductBytes, Weigh: (*cachedProduct).size, LoadTimeout: loadTimeout,
		TTL: 2 * maxAge, Until: func(c *cachedProduct) time.Time { return c.readAt.Add(maxAge) }, Stale: p.cfg.Stale,
		Negative:     func(err error) bool { return errors.Is(err, models.ErrNotFound) },
		NegativeSize: maxNegative, NegativeTTL: negativeTTL,
	}, p.load, func(c *cachedProduct) int64 { return c.version })
	if err != nil {
		return err
	}
	p.pages, err = cache.NewAside[pageKey](cache.Options[*cachedPage]{
		Size: maxPageBytes, Weigh: (*cachedPage).size, LoadTimeout: loadTimeout,
		TTL: 2 * maxAge, Until: func(c *cachedPage) time.Time { return c.readAt.Add(maxAge) }, Stale: p.cfg.Stale,
		Valid: func(c *cachedPage) bool { return c.generation == p.generations.Load() },
	})
	return err
}

// load reads a product for the cache.
func (p *Products) load(ctx context.Context, id string) (*cachedProduct, error) {
	readAt := p.now()
	product, err := one(ctx, p.db, selectProduct+`AND id = $1`, id)
	if err != nil {
		return nil, postgres.Classify("read product", err)
	}
	return p.encode(product, readAt)
}

func (p *Products) encode(product models.Product, readAt time.Time) (*cachedProduct, error) {
	representation, err := p.cfg.Encode(product)
	return &cachedProduct{representation: representation, version: product.Version, readAt: readAt}, err
}

// loadPage reads a page for the cache.
func (p *Products) loadPage(ctx context.Context, key pageKey) (*cachedPage, error) {
	cached := &cachedPage{generation: p.generations.Load(), readAt: p.now()} // before the query
	rows, err := p.db.Query(ctx, selectProduct+`AND id > $1 ORDER BY id LIMIT $2`, key.after, key.limit+1)
	if err != nil {
		return nil, postgres.Classify("list products", err)
	}
	cached.page, err = postgres.CollectPage("list products", rows, key.limit, scanProduct, func(last models.Product) models.Position {
		return models.Position{ID: last.ID}
	})
	return cached, err
}

// put caches a product that was written here.
func (p *Products) put(product models.Product, readAt time.Time) {
	cached, err := p.encode(product, readAt)
	if err != nil {
		p.products.Remove(product.ID)
	} else {
		p.products.Put(product.ID, cached)
	}
	p.outdatePages()
}

// outdatePages drops all pages.
func (p *Products) outdatePages() {
	p.generations.Add(1)
	p.pages.Invalidate()
}

// Invalidate drops what is cached of a changed product. Version 0 drops it in any
// case: it was deleted, or its stock has changed.
func (p *Products) Invalidate(event models.ChangeEvent) {
	if event.Kind == models.ChangedProduct {
		p.products.Invalidate(event.ID, event.Version)
		p.outdatePages()
	}
}

// InvalidateAll drops everything.
func (p *Products) InvalidateAll() {
	p.products.InvalidateAll()
	p.outdatePages()
}

// CacheStats returns what the cache of products did so far.
func (p *Products) CacheStats() cache.Stats { return p.products.Stats() }

// PageCacheStats returns what the cache of pages did so far.
func (p *Products) PageCacheStats() cache.Stats { return p.pages.Stats() }

// Close ends running loads.
func (p *Products) Close() {
	p.products.Close()
	p.pages.Close()
}

func (c *cachedProduct) size() uint32 { return uint32(entryBytes + cap(c.representation.Body)) }

func (c *cachedPage) size() uint32 {
	n := entryBytes
	for i := range c.page.Data {
		product := &c.page.Data[i]
		n += entryBytes + len(product.SKU) + len(product.Name) + len(product.Description)
	}
	return uint32(n)
}
