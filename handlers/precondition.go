package handlers

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// etag is the entity tag of a version.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// ifMatch reads the If-Match field (RFC 9110, section 13.1.1). Tags that are
// none of ours, weak ones included, match nothing.
func ifMatch(c *gin.Context) models.Expected {
	fields := c.Request.Header.Values("If-Match")
	expected := models.Expected{Given: len(fields) > 0}
	for tag := range strings.SplitSeq(strings.Join(fields, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" {
			expected.Any = true
			continue
		}
		text, opened := strings.CutPrefix(tag, `"`)
		text, closed := strings.CutSuffix(text, `"`)
		if version, err := strconv.ParseInt(text, 10, 64); err == nil && opened && closed {
			expected.Versions = append(expected.Versions, version)
		}
	}
	return expected
}

// writeVersioned answers with a body whose entity tag is its version.
func writeVersioned(c *gin.Context, status int, version int64, body any) {
	c.Header("ETag", etag(version))
	c.JSON(status, body)
}

// writeSecret answers with a body that holds a key: it is to be kept nowhere on
// its way.
func writeSecret(c *gin.Context, version int64, body any) {
	c.Header("Cache-Control", "no-store")
	writeVersioned(c, http.StatusCreated, version, body)
}
