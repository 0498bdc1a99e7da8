package handlers

import (
	"fmt"
	"strings"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

const idempotencyKeyHeader = "Idempotency-Key"

// maxIdempotencyKey is in bytes, far more than a UUID has.
const maxIdempotencyKey = 255

// readIdempotencyKey returns the key under which the caller may send a request
// again without its being carried out twice; empty: there is none.
func readIdempotencyKey(c *gin.Context, faults *models.Faults) string {
	fault := func(code, message string) { faults.Add("header", idempotencyKeyHeader, code, message) }
	fields := c.Request.Header[idempotencyKeyHeader]
	if len(fields) == 0 {
		return ""
	}
	key := fields[0]
	switch {
	case len(fields) > 1:
		fault("repeated", "must be sent once")
	case key == "":
		fault("required", "must not be empty")
	case len(key) > maxIdempotencyKey:
		fault("max_length", fmt.Sprintf("must be at most %d characters", maxIdempotencyKey))
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		fault("characters", "must be of visible ASCII characters, without spaces")
	}
	return key
}

// markReplayed tells the caller, and what charges it, that its request was
// carried out before.
func markReplayed(c *gin.Context, replayed bool) {
	if replayed {
		c.Header("Idempotency-Replayed", "true")
		models.RequestFrom(c).Replayed = true
	}
}
