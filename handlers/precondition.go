package handlers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"

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

// contentTag is the strong entity tag of a representation: half a SHA-256, which
// no two contents share by chance.
func contentTag(content []byte) string {
	sum := sha256.Sum256(content)
	var tag [2 + sha256.Size]byte
	tag[0], tag[len(tag)-1] = '"', '"'
	hex.Encode(tag[1:], sum[:sha256.Size/2])
	return string(tag[:])
}

// holdsTag reports whether the lines of an If-None-Match field have an entity
// tag in them, or are a "*" (RFC 9110, section 13.1.2). Tags are compared
// weakly: a W/ makes no difference. What stands behind something that is no tag
// can't be told, and counts for nothing.
func holdsTag(lines []string, tag string) bool {
	for _, rest := range lines {
		if rest == "*" {
			return true
		}
		for {
			rest = strings.TrimPrefix(strings.TrimLeft(rest, " \t,"), "W/")
			if rest == "" || rest[0] != '"' {
				break
			}
			length := strings.IndexByte(rest[1:], '"') + 2
			if length < 2 {
				break
			}
			if rest[:length] == tag {
				return true
			}
			rest = rest[length:]
		}
	}
	return false
}

// Values of header fields, shared by all answers: not to be changed. revalidate
// lets the caller, and nobody on the way, keep an answer if it asks each time
// whether that is still right.
var (
	revalidate = []string{"private, no-cache"}
	jsonType   = []string{"application/json; charset=utf-8"}
)

// answerTagged answers 200 with a body and the entity tag of its content, or 304
// to a caller that has just this, unless err says that there is none. It is for
// GET and HEAD.
func answerTagged(c *gin.Context, body any, err error) {
	var content []byte
	if err == nil {
		content, err = json.Marshal(body)
	}
	if err != nil {
		fail(c, err)
		return
	}
	tag := contentTag(content)
	if notModified(c, tag) {
		return
	}
	keepWithTag(c, tag)
	c.Writer.Header()["Content-Type"] = jsonType
	c.Status(http.StatusOK)
	if _, err := c.Writer.Write(content); err != nil {
		_ = c.Error(err) // for the log: the caller has hung up
	}
}

// keepWithTag lets the caller keep an answer with this entity tag.
func keepWithTag(c *gin.Context, tag string) {
	header := c.Writer.Header()
	header["Etag"] = []string{tag}
	header["Cache-Control"] = revalidate
}

// notModified answers 304 to a caller that has the content with this entity tag
// already, and reports whether it has.
func notModified(c *gin.Context, tag string) bool {
	if !holdsTag(c.Request.Header["If-None-Match"], tag) {
		return false
	}
	keepWithTag(c, tag)
	c.Status(http.StatusNotModified)
	c.Writer.WriteHeaderNow()
	return true
}

// ifNoneMatch is an If-None-Match field of a change (RFC 9110, section 13.1.2).
type ifNoneMatch struct{ any bool }

// ParseLines reads the field. Of a change only * makes sense: it may only make
// something new.
func (m *ifNoneMatch) ParseLines(lines []string) (code, message string) {
	if len(lines) != 1 || strings.TrimSpace(lines[0]) != "*" {
		return "enum", "must be *, for what may not be there yet; to change a version that you know, send If-Match"
	}
	m.any = true
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
// nowhere on its way, and not compressed, for a size tells something about the
// content.
func answerSecret(c *gin.Context, version int64, body any, err error) {
	c.Header("Cache-Control", "no-store")
	if c.GetHeader("Accept-Encoding") != "" { // else nobody takes the field off again
		c.Header(gzhttp.HeaderNoCompression, "true")
	}
	answerVersioned(c, http.StatusCreated, version, body, err)
}
