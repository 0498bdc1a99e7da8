package catalog

import (
	"errors"
	"slices"
	"testing"

	"ratelimiter/models"
)

func kindOf(err error) models.Kind {
	if domain, ok := errors.AsType[*models.Error](err); ok {
		return domain.Kind
	}
	return ""
}

func newCups(sku string) models.NewProduct {
	return models.NewProduct{SKU: sku, Name: "Cups", Description: "White", Price: models.Money{Amount: 100, Currency: "USD"}, Stock: 3}
}

func TestProducts_Create(t *testing.T) {
	s := newShop(t, database(t))
	s.names()
	created, err := s.Create(actor(t), newCups("CUP-9"))
	if err != nil {
		t.Fatal(err)
	}
	n := s.count(func() {
		got := s.get(created.ID)
		if got.SKU != "CUP-9" || got.Name != "Cups" || got.Description != "White" || got.Price != (models.Money{Amount: 100, Currency: "USD"}) || got.Stock != 3 || got.UpdatedAt.IsZero() {
			t.Errorf("got %+v", got)
		}
	})
	if n != 0 || created.Version != 1 {
		t.Errorf("%d queries for version %d; want none for 1", n, created.Version)
	}
	if !slices.Contains(s.names(), "Cups") {
		t.Error("the list doesn't have the new product")
	}
	if _, err := s.Create(actor(t), newCups("CUP-9")); kindOf(err) != models.KindConflict {
		t.Errorf("a second product with the SKU: %v; want a conflict", err)
	}
	if _, err := s.Create(t.Context(), newCups("CUP-10")); err == nil {
		t.Error("a product was created without an actor")
	}
	if got, want := s.audits(), []string{"product.create - 1"}; !slices.Equal(got, want) {
		t.Errorf("got audit %v; want %v", got, want)
	}
	if got, want := s.feed(), []models.ChangeEvent{{Kind: models.ChangedProduct, ID: created.ID, Version: 1}}; !slices.Equal(got, want) {
		t.Errorf("got events %v; want %v", got, want)
	}
}

func TestProducts_Change(t *testing.T) {
	s := newShop(t, database(t))
	before := s.get(cups)
	if got := s.stock(cups, 7); got.Version != 1 || !got.UpdatedAt.Equal(before.UpdatedAt) || got.Stock != 7 {
		t.Errorf("stock: got %+v; want the version and time as before", got)
	}
	if events := s.feed(); len(events) != 0 {
		t.Errorf("stock: events %v; want none", events)
	}
	if got := s.rename(cups, before.Name); got.Version != 1 {
		t.Errorf("nothing new: version %d; want 1", got.Version)
	}
	if got := s.rename(cups, "Cups"); got.Version != 2 || !got.UpdatedAt.After(before.UpdatedAt) || got.Stock != 7 {
		t.Errorf("name: got %+v; want version 2 at a later time with stock 7", got)
	}
	apply := func(p *models.Product) error { p.SKU = "COF-ETH-250"; return nil } // another product's
	if _, err := s.Change(actor(t), cups, models.Precondition{}, apply); kindOf(err) != models.KindConflict {
		t.Errorf("a duplicate SKU: %v; want a conflict", err)
	}
	stale := models.Precondition{Given: true, Versions: []int64{1}}
	if _, err := s.Change(actor(t), cups, stale, apply); kindOf(err) != models.KindPreconditionFailed {
		t.Errorf("a stale version: %v; want a failed precondition", err)
	}
	refused := models.Conflict("x", "refused")
	if _, err := s.Change(actor(t), cups, models.Precondition{}, func(*models.Product) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("an error of apply: %v", err)
	}
	if _, err := s.Change(actor(t), "none", models.Precondition{}, apply); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("an unknown product: %v; want not found", err)
	}
	if got := s.get(cups); got.Name != "Cups" || got.SKU != before.SKU || got.Stock != 7 {
		t.Errorf("got %+v; want what the accepted changes left", got)
	}
	if got, want := s.audits(), []string{"product.update 1 1", "product.update 1 2"}; !slices.Equal(got, want) {
		t.Errorf("got audit %v; want %v", got, want)
	}
}

func TestProducts_Delete(t *testing.T) {
	url := database(t)
	s, other := newShop(t, url), newShop(t, url)
	sku := s.get(cups).SKU
	s.names()
	other.get(cups)
	if err := s.Delete(actor(t), cups, models.Precondition{Given: true, Versions: []int64{2}}); kindOf(err) != models.KindPreconditionFailed {
		t.Errorf("a stale version: %v; want a failed precondition", err)
	}
	if err := s.Delete(actor(t), cups, models.Precondition{Given: true, Versions: []int64{1}}); err != nil {
		t.Fatal(err)
	}
	if got, want := other.feed(), []models.ChangeEvent{{Kind: models.ChangedProduct, ID: cups}}; !slices.Equal(got, want) || !slices.Equal(s.events, want) {
		t.Errorf("got events %v, announced %v; want %v", got, s.events, want)
	}
	for _, s := range []*shop{s, other} {
		if _, err := s.Get(t.Context(), cups); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("Get: %v; want not found", err)
		}
		if n := len(s.names()); n != 11 {
			t.Errorf("%d products in the list; want 11", n)
		}
	}
	if err := s.Delete(actor(t), cups, models.Precondition{}); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("a second time: %v; want not found", err)
	}
	if _, err := s.Change(actor(t), cups, models.Precondition{}, func(p *models.Product) error { p.Stock = 1; return nil }); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("a change: %v; want not found", err)
	}
	if _, err := s.Create(actor(t), newCups(sku)); err != nil {
		t.Errorf("a new product with its SKU: %v", err)
	}
	if got, want := s.audits(), []string{"product.delete 1 -", "product.create - 1"}; !slices.Equal(got, want) {
		t.Errorf("got audit %v; want %v", got, want)
	}
}

// A change whose commit fails may have been made: nothing of it stays cached.
func TestProducts_failed_commit(t *testing.T) {
	s := newShop(t, database(t))
	s.get(cups)
	s.exec(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''at the commit''; END'`)
	s.exec(`CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON products DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`)
	if _, err := s.Change(actor(t), cups, models.Precondition{}, func(p *models.Product) error { p.Name = "x"; return nil }); err == nil {
		t.Fatal("the change has succeeded")
	}
	if n := s.count(func() { s.get(cups) }); n != 1 || len(s.events) != 1 {
		t.Errorf("%d queries, events %v; want one of each", n, s.events)
	}
}
