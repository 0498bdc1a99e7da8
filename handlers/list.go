package handlers

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Bounds of a list's limit parameter, in items.
const (
	defaultPageSize = 20
	maxPageSize     = 100
)

// List is the shape of every list.
type List[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"` // null on the last page
}

// readPage reads the query parameters limit and cursor of a list, and by
// filters those that only this list has. list names the list, so that a cursor
// is good for the list that it came from only. Error: *models.InvalidError with
// every fault.
func readPage(c *gin.Context, cursors *Cursors, list string, filters ...func(*params)) (after *models.Position, limit int, err error) {
	p, err := readParams(c)
	if err != nil {
		return nil, 0, err
	}
	limit = defaultPageSize
	if p.values.Has("limit") {
		limit, err = strconv.Atoi(p.values.Get("limit"))
		if err != nil {
			p.faults.Query("limit", "type", "must be a whole number")
		} else if limit < 1 || limit > maxPageSize {
			p.faults.Query("limit", "range", fmt.Sprintf("must be from 1 to %d", maxPageSize))
		}
	}
	if text := p.values.Get("cursor"); text != "" {
		after, err = cursors.decode(list, text)
		if err != nil {
			p.faults.Query("cursor", "cursor", "is none of this list's: send a next_cursor as it was given, or leave it out")
		}
	}
	for _, read := range filters {
		read(p)
	}
	return after, limit, p.faults.Err()
}

// writePage answers with a page, and with a Link to the next one.
func writePage[T any](c *gin.Context, cursors *Cursors, list string, page models.Page[T]) {
	c.JSON(http.StatusOK, linkPage(c, cursors, list, page))
}

// writeTaggedPage is writePage with an entity tag: see writeTagged.
func writeTaggedPage[T any](c *gin.Context, cursors *Cursors, list string, page models.Page[T]) {
	writeTagged(c, linkPage(c, cursors, list, page))
}

// linkPage returns a page as it is answered, and sets the Link to the next one.
func linkPage[T any](c *gin.Context, cursors *Cursors, list string, page models.Page[T]) List[T] {
	body := List[T]{Data: page.Data}
	if body.Data == nil {
		body.Data = []T{}
	}
	if page.Next != nil {
		cursor := cursors.encode(list, *page.Next)
		body.NextCursor = &cursor
		next := *c.Request.URL
		query := next.Query()
		query.Set("cursor", cursor)
		next.RawQuery = query.Encode()
		c.Header("Link", fmt.Sprintf(`<%s>; rel="next"`, next.RequestURI()))
	}
	return body
}
