package models

// Page is one page of a list. Next is where the following page starts, nil on
// the last one.
type Page[T any] struct {
	Data []T
	Next *Position
}

// Position is a place in a list in its own order: after the row with this
// sort value and id.
type Position struct {
	Sort string `json:"s"`
	ID   string `json:"i"`
}

// PageOf cuts rows, of which one more than limit was asked for, to a page.
func PageOf[T any](rows []T, limit int, position func(T) Position) Page[T] {
	if len(rows) <= limit {
		return Page[T]{Data: rows}
	}
	next := position(rows[limit-1])
	return Page[T]{Data: rows[:limit], Next: &next}
}
