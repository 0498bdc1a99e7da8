package handlers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"

	"ratelimiter/models"
)

// etag returns the entity tag of a version.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// ifMatch is an If-Match field (RFC 9110, section 13.1.1).
type ifMatch models.Precondition

// ParseLines parses the tags. Foreign and weak tags match nothing.
func (m *ifMatch) ParseLines(lines []string) (code, message string) {
	m.Given = true
	for tag := range listed(lines) {
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

// listed returns the elements of an If-Match field: entity tags with their quotes,
// or "*".
func listed(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for tag := range strings.SplitSeq(strings.Join(lines, ","), ",") {
			if !yield(strings.TrimSpace(tag)) {
				return
			}
		}
	}
}

// contentTag returns the strong entity tag of a representation: half its SHA-256.
func contentTag(content []byte) string {
	sum := sha256.Sum256(content)
	var tag [2 + sha256.Size]byte
	tag[0], tag[len(tag)-1] = '"', '"'
	hex.Encode(tag[1:], sum[:sha256.Size/2])
	return string(tag[:])
}

// holdsTag reports whether the lines of an If-None-Match field contain an entity
// tag or are "*" (RFC 9110, section 13.1.2). The comparison is weak. Anything
// after a syntax error is ignored.
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

// Header values, shared by all responses; they must not be changed. revalidate
// allows only the client to store a response, and to use it after revalidation.
var (
	revalidate = []string{"private, no-cache"}
	jsonType   = []string{"application/json; charset=utf-8"}
)

// respondTagged responds to GET and HEAD with a body and the entity tag of its
// content, with 304 if the client has this content, or fails the request with
// err.
func respondTagged(c *gin.Context, body any, err error) {
	var content []byte
	if err == nil {
		content, err = json.Marshal(body)
	}
	respondEncoded(c, &models.Representation{Body: content, ETag: []string{contentTag(content)}}, err)
}

// respondEncoded is respondTagged for a body that is encoded already.
func respondEncoded(c *gin.Context, content *models.Representation, err error) {
	if err != nil {
		fail(c, err)
		return
	}
	if notModified(c, content.ETag) {
		return
	}
	keepWithTag(c, content.ETag)
	write(c, http.StatusOK, content.Body)
}

// keepWithTag lets the client store the response with this entity tag, the line of
// the header field.
func keepWithTag(c *gin.Context, tag []string) {
	header := c.Writer.Header()
	header["Etag"] = tag
	header["Cache-Control"] = revalidate
}

// notModified responds 304 if the client has the content with this entity tag,
// and reports whether it did.
func notModified(c *gin.Context, tag []string) bool {
	if !holdsTag(c.Request.Header["If-None-Match"], tag[0]) {
		return false
	}
	keepWithTag(c, tag)
	c.Status(http.StatusNotModified)
	c.Writer.WriteHeaderNow()
	return true
}

// ifNoneMatch is an If-None-Match field of a change (RFC 9110, section 13.1.2).
type ifNoneMatch struct{ any bool }

// ParseLines parses the field. For a change only * makes sense: create, never
// replace.
func (m *ifNoneMatch) ParseLines(lines []string) (code, message string) {
	if len(lines) != 1 || strings.TrimSpace(lines[0]) != "*" {
		return "enum", "must be *, to create only; to change a certain version, send If-Match"
	}
	m.any = true
	return "", ""
}

// respondVersioned responds with a body whose entity tag is its version, or fails
// the request with err.
func respondVersioned(c *gin.Context, status int, version int64, body any, err error) {
	if err == nil {
		c.Header("ETag", etag(version))
	}
	respond(c, status, body, err)
}

// respondSecret responds with a body that contains a new key. It must not be
// stored by intermediaries, and not compressed, because the size of compressed
// data leaks information about it.
func respondSecret(c *gin.Context, version int64, body any, err error) {
	c.Header("Cache-Control", "no-store")
	if c.GetHeader("Accept-Encoding") != "" { // otherwise the field would be sent
		c.Header(gzhttp.HeaderNoCompression, "true")
	}
	respondVersioned(c, http.StatusCreated, version, body, err)
}
