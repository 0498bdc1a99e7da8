package docs

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

//go:embed openapi.json
var openAPI []byte

// Spec handles GET /openapi.json: the OpenAPI 3.1 description, or 304 if the client has it.
func Spec(c *gin.Context) { serve(c, openAPI, "application/json; charset=utf-8") }

// OpenAPI returns a copy of the OpenAPI 3.1 description.
func OpenAPI() []byte { return bytes.Clone(openAPI) }

// serve sends an embedded file, or 304 if the client has it.
func serve(c *gin.Context, content []byte, contentType string) {
	c.Header("Content-Type", contentType)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("ETag", etag(content))
	c.Header("Cache-Control", "no-cache") // cache, but revalidate each time
	http.ServeContent(c.Writer, c.Request, "", time.Time{}, bytes.NewReader(content))
}

// etag returns a strong entity tag: half a SHA-256 of the content.
func etag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
