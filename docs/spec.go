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

// Spec answers GET /openapi.json with the OpenAPI 3.1 document, or with 304 to a client that has this version.
func Spec(c *gin.Context) { serve(c, openAPI, "application/json; charset=utf-8") }

// OpenAPI returns a copy of the document that Spec serves.
func OpenAPI() []byte { return bytes.Clone(openAPI) }

// serve writes an embedded file, or 304 to a client that has it.
func serve(c *gin.Context, content []byte, contentType string) {
	c.Header("Content-Type", contentType)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("ETag", etag(content))
	c.Header("Cache-Control", "no-cache") // keep it, and ask each time whether it is still this version
	http.ServeContent(c.Writer, c.Request, "", time.Time{}, bytes.NewReader(content))
}

// etag returns a strong entity tag of the content: half a SHA-256, which no two versions share by chance.
func etag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
