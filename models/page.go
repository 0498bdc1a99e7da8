package models

// Page is one page of a list. Next is the start of the following page; nil on
// the last page.
type Page[T any] struct {
	Data []T
	Next *Position
}

// Position is a position in a sorted list: after the row with this sort value
// and id.
type Position struct {
	Sort string `json:"s"`
	ID   string `json:"i"`
}
