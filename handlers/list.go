package handlers

import (
	"fmt"
	"net/http"
	"net/url"
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

// readPage reads the query parameters limit and cursor of a list. list names
// the list, so that a cursor is good for the list that it came from only.
// Error: *models.InvalidError with every fault.
func readPage(c *gin.Context, cursors *Cursors, list string) (after *models.Position, limit int, err error) {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, 0, &models.StatusError{Status: http.StatusBadRequest, Detail: "The query string is not properly encoded."}
	}
	var faults models.Faults
	limit = defaultPageSize
	if query.Has("limit") {
		limit, err = strconv.Atoi(query.Get("limit"))
		if err != nil {
			faults.Query("limit", "type", "must be a whole number")
		} else if limit < 1 || limit > maxPageSize {
			faults.Query("limit", "range", fmt.Sprintf("must be from 1 to %d", maxPageSize))
		}
	}
	if text := query.Get("cursor"); text != "" {
		after, err = cursors.decode(list, text)
		if err != nil {
			faults.Query("cursor", "cursor", "is none of this list's: send a next_cursor as it was given, or leave it out")
		}
	}
	return after, limit, faults.Err()
}

// writePage answers with a page, and with a Link to the next one.
func writePage[T any](c *gin.Context, cursors *Cursors, list string, page models.Page[T]) {
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
	c.JSON(http.StatusOK, body)
}
