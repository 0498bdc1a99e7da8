package server

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/catalog"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// noInvalidator is a models.Invalidator of one instance.
type noInvalidator struct{}

func (noInvalidator) Invalidate(context.Context, models.ChangeEvent) {}

// queriedProducts reads a product with a query for each request.
type queriedProducts struct {
	handlers.ProductService
	db *pgxpool.Pool
}

func (q queriedProducts) Get(ctx context.Context, id string) (*models.Representation, error) {
	var p models.Product
	err := q.db.QueryRow(ctx, `SELECT id, sku, name, description, price_amount, price_currency, stock, updated_at, version
		FROM products WHERE id = $1 AND deleted_at IS NULL`, id).
		Scan(&p.ID, &p.SKU, &p.Name, &p.Description, &p.Price.Amount, &p.Price.Currency, &p.Stock, &p.UpdatedAt, &p.Version)
	if err != nil {
		return nil, err
	}
	encoded, err := handlers.EncodeProduct(p)
	return &encoded, err
}

// BenchmarkProducts_Get compares GET /v1/products/{id} through the whole chain with
// the cache and with a query for each request, by turns: time, allocations and
// their ratio. The cached one includes the query each second.
func BenchmarkProducts_Get(b *testing.B) {
	db := testkit.Database(b)
	cached, err := catalog.New(db, catalog.Config{Stale: time.Minute, Encode: handlers.EncodeProduct, Invalidator: noInvalidator{}})
	if err != nil {
		b.Fatal(err)
	}
	defer cached.Close()
	cfg, cursors := routerConfig(b, 1_000_000), handlers.NewCursors([]byte("secret"))
	routerWith := func(products handlers.ProductService) http.Handler {
		return NewRouter(Handlers{Products: handlers.NewProducts(products, cursors)}, cfg)
	}
	routers := [2]http.Handler{routerWith(queriedProducts{db: db}), routerWith(cached)}
	r, w := requestFor("/v1/products/prd_0y5apuf8zs"), &discardWriter{http.Header{}}
	var took [2]time.Duration
	var allocated [2]uint64
	var before, after runtime.MemStats
	const turn = 200
	requests := 0
	for b.Loop() {
		for i, router := range routers {
			runtime.ReadMemStats(&before)
			began := time.Now()
			for range turn {
				clear(w.header)
				router.ServeHTTP(w, r)
			}
			took[i] += time.Since(began)
			runtime.ReadMemStats(&after)
			allocated[i] += after.Mallocs - before.Mallocs
		}
		requests += turn
	}
	for i, name := range []string{"queried", "cached"} {
		b.ReportMetric(float64(took[i].Microseconds())/float64(requests), name+"-µs")
		b.ReportMetric(float64(allocated[i])/float64(requests), name+"-allocs")
	}
	b.ReportMetric(float64(took[0])/float64(took[1]), "ratio")
}
