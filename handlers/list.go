package handlers

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// List is one page of a list.
type List[T any] struct {
	Data       []T     `json:"data"`        // the items of this page
	NextCursor *string `json:"next_cursor"` // where the next page starts; null on the last one
}

// page is which part of a list is asked for.
type page struct {
	Limit  int    `form:"limit" minimum:"1" maximum:"100" default:"20"` // Most items on the page
	Cursor string `form:"cursor"`                                       // Where the page starts: next_cursor of the page before

	cursors *Cursors
	list    string
	after   *models.Position // nil: the start
}

// page returns the first page of a list. A cursor is good for the list that it
// came from only.
func (s *Cursors) page(list string) page { return page{cursors: s, list: list} }

// Validate adds a fault for a cursor that is none of the list's.
func (p *page) Validate(faults *models.Faults) {
	if p.Cursor == "" {
		return
	}
	var err error
	if p.after, err = p.cursors.decode(p.list, p.Cursor); err != nil {
		faults.Query("cursor", "cursor", "is none of this list's: send a next_cursor as it was given, or leave it out")
	}
}

// writePage answers with a page, and with a Link to the next one.
func writePage[T any](c *gin.Context, of page, got models.Page[T], err error) {
	writeShown(c, of, got, err, func(item T) (T, error) { return item, nil })
}

// writeTaggedPage is writePage with an entity tag: see answerTagged.
func writeTaggedPage[T any](c *gin.Context, of page, got models.Page[T], err error) {
	answerTagged(c, linkPage(c, of, got), err)
}

// writeShown is writePage for items that are shown in another shape.
func writeShown[T, S any](c *gin.Context, of page, got models.Page[T], err error, show func(T) (S, error)) {
	shown := models.Page[S]{Data: make([]S, len(got.Data)), Next: got.Next}
	for i := 0; err == nil && i < len(got.Data); i++ {
		shown.Data[i], err = show(got.Data[i])
	}
	answer(c, http.StatusOK, linkPage(c, of, shown), err)
}

// linkPage returns a page as it is answered, and sets the Link to the next one.
func linkPage[T any](c *gin.Context, of page, got models.Page[T]) List[T] {
	body := List[T]{Data: got.Data}
	if body.Data == nil {
		body.Data = []T{}
	}
	if got.Next != nil {
		cursor := of.cursors.encode(of.list, *got.Next)
		body.NextCursor = &cursor
		next := *c.Request.URL
		query := next.Query()
		query.Set("cursor", cursor)
		next.RawQuery = query.Encode()
		c.Header("Link", fmt.Sprintf(`<%s>; rel="next"`, next.RequestURI()))
	}
	return body
}
