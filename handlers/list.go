package handlers

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// List is one page of a list.
type List[T any] struct {
	Data       []T     `json:"data"`        // items of this page
	NextCursor *string `json:"next_cursor"` // cursor of the next page; null on the last page
}

// page selects a part of a list.
type page struct {
	Limit  int    `form:"limit" minimum:"1" maximum:"100" default:"20"` // Maximum number of items; a page of large items has fewer
	Cursor string `form:"cursor"`                                       // Start of the page: next_cursor of the previous page

	cursors *Cursors
	list    string
	after   *models.Position // nil: the start
}

// page returns the first page of a list. A cursor is valid only for its list.
func (s *Cursors) page(list string) page { return page{cursors: s, list: list} }

// Validate decodes the cursor.
func (p *page) Validate(faults *models.Faults) {
	if p.Cursor == "" {
		return
	}
	var err error
	if p.after, err = p.cursors.decode(p.list, p.Cursor); err != nil {
		faults.AddFault(queryFault("cursor", "cursor", "is not a cursor of this list: send a next_cursor unchanged, or leave it out"))
	}
}

// respondPage responds with a page and a Link to the next one.
func respondPage[T any](c *gin.Context, of page, got models.Page[T], err error) {
	respondShown(c, of, got, err, func(item T) T { return item })
}

// respondTaggedPage is respondPage with an entity tag; see respondTagged.
func respondTaggedPage[T any](c *gin.Context, of page, got models.Page[T], err error) {
	respondTagged(c, linkPage(c, of, got), err)
}

// respondShown is respondPage for items that are converted by show.
func respondShown[T, S any](c *gin.Context, of page, got models.Page[T], err error, show func(T) S) {
	shown := models.Page[S]{Data: make([]S, len(got.Data)), Next: got.Next}
	for i := range got.Data {
		shown.Data[i] = show(got.Data[i])
	}
	respond(c, http.StatusOK, linkPage(c, of, shown), err)
}

// queryFault returns a fault of a query parameter.
func queryFault(name, code, message string) models.Fault {
	return models.Fault{Source: models.SourceQuery, Path: []string{name}, Code: code, Message: message}
}

// linkPage returns the body of a page and sets the Link to the next one.
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
