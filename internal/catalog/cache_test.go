package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"ratelimiter/models"
)

func TestProducts_Get_shares_loads(t *testing.T) {
	s := newShop(t, database(t))
	n := s.count(func() {
		var callers sync.WaitGroup
		for range 1000 {
			callers.Go(func() {
				if _, err := s.Get(t.Context(), cups); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	})
	if n != 1 {
		t.Errorf("1000 requests for one product cost %d queries; want 1", n)
	}
}

func TestProducts_Get_unknown(t *testing.T) {
	s := newShop(t, database(t))
	long := strings.Repeat("x", maxID+1)
	n := s.count(func() {
		for _, id := range []string{"none", "none", long, long, "a\x00b", "a\x00b"} {
			if _, err := s.Get(t.Context(), id); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("%.10q: %v; want not found", id, err)
			}
		}
	})
	if n != 2 {
		t.Errorf("%d queries; want 2, for two ids that can be ids", n)
	}
	s.exec(`INSERT INTO products (id, sku, name, price_amount, price_currency, stock) VALUES ('none', 's', 'n', 1, 'EUR', 1)`)
	if _, err := s.Get(t.Context(), "none"); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("before the event: %v; want not found, as cached", err)
	}
	s.feed()
	s.get("none")
}

// The stock of an order is in no event: each cache reads a product again when it is
// maxAge old.
func TestProducts_stock_age(t *testing.T) {
	url := database(t)
	here, there := newShop(t, url), newShop(t, url)
	for _, s := range []*shop{here, there} {
		if got := s.get(cups).Stock; got != 1000 {
			t.Fatalf("stock %d; want 1000", got)
		}
		s.names()
	}
	here.exec(`UPDATE products SET stock = stock - 1 WHERE id = $1`, cups)
	if events := here.feed(); len(events) != 0 {
		t.Fatalf("events %v; want none", events)
	}
	for _, s := range []*shop{here, there} {
		if n := s.count(func() { s.get(cups); s.names() }); n != 0 {
			t.Errorf("%d queries; want none while the product is young", n)
		}
		s.wait(maxAge)
		if n := s.count(func() {
			if got := s.get(cups).Stock; got != 999 {
				t.Errorf("stock %d after %s; want 999", got, maxAge)
			}
		}); n != 1 {
			t.Errorf("%d queries; want 1", n)
		}
		page, err := s.List(t.Context(), nil, 100)
		if err != nil || page.Data[slices.IndexFunc(page.Data, func(p models.Product) bool { return p.ID == cups })].Stock != 999 {
			t.Errorf("list %v, %v after %s; want the new stock", page, err, maxAge)
		}
	}
	// The instance that changed it can drop it at once.
	here.exec(`UPDATE products SET stock = stock - 1 WHERE id = $1`, cups)
	here.Invalidate(models.ChangeEvent{Kind: models.ChangedProduct, ID: cups})
	if got := here.get(cups).Stock; got != 998 {
		t.Errorf("stock %d; want 998", got)
	}
}

// A cache is current at once for changes made through it, and for those of another
// when it hears of them.
func TestProducts_write_through(t *testing.T) {
	url := database(t)
	here, there := newShop(t, url), newShop(t, url)
	for _, s := range []*shop{here, there} {
		s.get(cups)
		s.names()
	}
	here.rename(cups, "Cups")
	if n := here.count(func() {
		if got := here.get(cups).Name; got != "Cups" {
			t.Errorf("here: %s; want the new name at once", got)
		}
	}); n != 0 {
		t.Errorf("here: %d queries; want none", n)
	}
	if !slices.Contains(here.names(), "Cups") {
		t.Error("here: the list doesn't have the new name")
	}
	if got := there.get(cups).Name; got == "Cups" {
		t.Error("there: the new name is known before the event")
	}
	events := there.feed()
	if want := []models.ChangeEvent{{Kind: models.ChangedProduct, ID: cups, Version: 2}}; !slices.Equal(events, want) || !slices.Equal(here.events, want) {
		t.Errorf("got events %v, announced %v; want %v", events, here.events, want)
	}
	if got := there.get(cups).Name; got != "Cups" || !slices.Contains(there.names(), "Cups") {
		t.Errorf("there: %s; want the new name after the event", got)
	}
	here.Invalidate(events[0])
	if n := here.count(func() { here.get(cups) }); n != 0 {
		t.Errorf("%d queries after the event of the own change; want none", n)
	}
	here.stock(cups, 5)
	if got := here.get(cups).Stock; got != 5 {
		t.Errorf("here: stock %d; want 5 at once", got)
	}
	there.wait(maxAge)
	if got := there.get(cups).Stock; got != 5 {
		t.Errorf("there: stock %d after %s; want 5", got, maxAge)
	}
	here.exec(`DELETE FROM order_items`)
	here.exec(`DELETE FROM products WHERE id = $1`, cups) // as with psql
	there.feed()
	if _, err := there.Get(t.Context(), cups); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("there: %v; want not found", err)
	}
}

func TestProducts_InvalidateAll(t *testing.T) {
	s := newShop(t, database(t))
	s.get(cups)
	s.names()
	s.exec(`UPDATE products SET name = 'Cups'`)
	s.InvalidateAll()
	if got := s.get(cups).Name; got != "Cups" || s.names()[0] != "Cups" {
		t.Errorf("got %s; want the new name", got)
	}
}

func TestProducts_other_events(t *testing.T) {
	s := newShop(t, database(t))
	s.get(cups)
	s.names()
	if n := s.count(func() {
		s.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: cups})
		s.get(cups)
		s.names()
	}); n != 0 {
		t.Errorf("%d queries after the event of a key; want none", n)
	}
}

// While Postgres can't be read, a product is served for Config.Stale.
func TestProducts_database_down(t *testing.T) {
	s := newShop(t, database(t))
	s.get(cups)
	s.names()
	s.db.Close()
	s.wait(maxAge)
	s.get(cups)
	s.names()
	s.wait(s.cfg.Stale)
	if _, err := s.Get(t.Context(), cups); err == nil || errors.Is(err, models.ErrNotFound) {
		t.Errorf("after %s: %v; want a failure", s.cfg.Stale, err)
	}
	if _, err := s.Get(t.Context(), "other"); err == nil || errors.Is(err, models.ErrNotFound) {
		t.Errorf("a product that isn't cached: %v; want a failure", err)
	}
}

// The caches are bounded in bytes, and made-up ids evict no product.
func TestProducts_bounds(t *testing.T) {
	s := newShop(t, database(t))
	description := strings.Repeat("x", 1_000_000)
	s.exec(`INSERT INTO products (id, sku, name, description, price_amount, price_currency, stock)
		SELECT 'big' || n, 'big' || n, 'n', $1, 1, 'EUR', 1 FROM generate_series(1, 40) n`, description)
	for i := range 40 {
		s.get(fmt.Sprint("big", i+1))
		if _, err := s.List(t.Context(), &models.Position{ID: fmt.Sprint("big", i)}, 1); err != nil {
			t.Fatal(err)
		}
	}
	entries, pages := s.products.Len(), s.pages.Len()
	if most := maxProductBytes / len(description); entries > most || entries < most/2 {
		t.Errorf("%d products of 1 MB are cached; want about %d", entries, most)
	}
	if most := maxPageBytes/len(description) + 1; pages > most || pages < most/2 { // one has a small product
		t.Errorf("%d pages of 1 MB are cached; want about %d", pages, most)
	}
}
