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

// ifMatch is an If-Match field (RFC 9110, section 13.1.1).
type ifMatch models.Expected

// ParseLines reads the tags. Those that are none of ours, weak ones included,
// match nothing.
func (m *ifMatch) ParseLines(lines []string) (code, message string) {
	m.Given = true
	for tag := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" {
			m.Any = true
			continue
		}
		text, opened := strings.CutPrefix(tag, `"`)
		text, closed := strings.CutSuffix(text, `"`)
		if version, err := strconv.ParseInt(text, 10, 64); err == nil && opened && closed {
			m.Versions = append(m.Versions, version)
		}
	}
	return "", ""
}

// answerVersioned answers with a body whose entity tag is its version, unless err
// says that there is none.
func answerVersioned(c *gin.Context, status int, version int64, body any, err error) {
	if err == nil {
		c.Header("ETag", etag(version))
	}
	answer(c, status, body, err)
}

// answerSecret answers with a body that holds a key, just made: it is to be kept
// nowhere on its way.
func answerSecret(c *gin.Context, version int64, body any, err error) {
	c.Header("Cache-Control", "no-store")
	answerVersioned(c, http.StatusCreated, version, body, err)
}
