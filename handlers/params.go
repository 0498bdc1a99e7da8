package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// params is a request's query parameters, and what is wrong with them.
type params struct {
	values url.Values
	faults models.Faults
}

// readParams decodes the query string. Error: *models.StatusError (400).
func readParams(c *gin.Context) (*params, error) {
	values, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, &models.StatusError{Status: http.StatusBadRequest, Detail: "The query string is not properly encoded."}
	}
	return &params{values: values}, nil
}

// maxFilter is in bytes: nothing that a list can be searched by is longer.
const maxFilter = 200

// text reads a text to filter by; empty: none.
func (p *params) text(name string) string {
	value := p.values.Get(name)
	switch {
	case len(value) > maxFilter:
		p.faults.Query(name, "max_length", fmt.Sprintf("must be at most %d bytes", maxFilter))
	case !utf8.ValidString(value):
		p.faults.Query(name, "utf8", "must be valid UTF-8")
	case strings.ContainsRune(value, 0):
		p.faults.Query(name, "nul", "must not contain the character NUL")
	}
	return value
}

// oneOf reads one of a few values; empty: none.
func (p *params) oneOf(name string, allowed ...string) string {
	value := p.values.Get(name)
	if value != "" && !slices.Contains(allowed, value) {
		p.faults.Query(name, "enum", "must be one of "+strings.Join(allowed, ", "))
	}
	return value
}

// time reads an instant; nil: none.
func (p *params) time(name string) *time.Time {
	text := p.values.Get(name)
	if text == "" {
		return nil
	}
	instant, ok := parseTime(text)
	if !ok {
		p.faults.Query(name, "time", timeMessage)
		return nil
	}
	return &instant
}

const timeMessage = "must be a time such as 2026-01-15T09:30:00Z (RFC 3339)"

// Times outside these years are nobody's meaning, and some of them can't be
// written as RFC 3339 again.
var (
	firstTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// parseTime reads an instant of RFC 3339 and returns it in UTC, cut to
// Postgres's microseconds so that what is stored is what was answered.
func parseTime(text string) (time.Time, bool) {
	instant, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || instant.Before(firstTime) || instant.After(lastTime) {
		return time.Time{}, false
	}
	return instant.UTC().Truncate(time.Microsecond), true
}
