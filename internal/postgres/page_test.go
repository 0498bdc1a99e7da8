package postgres_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

func TestCollectPage(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t), postgres.WithMaxConns(1))
	for _, test := range []struct {
		name string
		kib  []int // size of each row
		page []int // rows of each page of up to 4
	}{
		{"empty", nil, []int{0}},
		{"one page", []int{1, 1, 1, 1}, []int{4}},
		{"by number", []int{1, 1, 1, 1, 1}, []int{4, 1}},
		{"by size", []int{100, 100, 100, 100}, []int{2, 2}},
		{"a row above the bound", []int{300, 1, 300, 1}, []int{1, 1, 1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []int
			after := models.Position{ID: "0"}
			for {
				from, _ := strconv.Atoi(after.ID)
				rows, err := pool.Query(t.Context(), `SELECT i, repeat('x', kib * 1024 - 100) FROM unnest($1::int[]) WITH ORDINALITY AS u (kib, i)
					WHERE i > $2 ORDER BY i LIMIT 5`, test.kib, from)
				if err != nil {
					t.Fatal(err)
				}
				page, err := postgres.CollectPage("list", rows, 4, func(row pgx.CollectableRow) (i int, err error) {
					err = row.Scan(&i, nil)
					return i, err
				}, func(last int) models.Position { return models.Position{ID: strconv.Itoa(last)} })
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, len(page.Data)); page.Next == nil {
					break
				}
				after = *page.Next
			}
			if !slices.Equal(got, test.page) {
				t.Errorf("pages of %v rows; want %v", got, test.page)
			}
		})
	}
}
