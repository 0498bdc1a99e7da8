package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Values of Cache-Control. An address that contains the version of its content
// is cached for a year; every other response is revalidated.
const (
	revalidate = "no-cache"
	immutable  = "public, max-age=31536000, immutable"
)

// minCompressed is the length from which a file is compressed: shorter ones fit
// into one packet either way.
const minCompressed = 1024

// file is a static file. Its derived forms are made once, when they are first
// requested.
type file struct {
	contentType string
	content     func() []byte
	tag         func() string // strong entity tag: half a SHA-256 of the content
	gzipped     func() []byte // nil: not compressed
}

// newFile returns the file with a path. Its content is constant.
func newFile(name string, content func() []byte) *file {
	content = sync.OnceValue(content)
	return &file{
		contentType: contentTypes[path.Ext(name)],
		content:     content,
		tag: sync.OnceValue(func() string {
			sum := sha256.Sum256(content())
			return `"` + hex.EncodeToString(sum[:16]) + `"`
		}),
		gzipped: sync.OnceValue(func() []byte {
			if len(content()) < minCompressed || path.Ext(name) == ".png" {
				return nil
			}
			return compress(content())
		}),
	}
}

// embedded returns the file of embedded content.
func embedded(name string, content []byte) *file {
	return newFile(name, func() []byte { return content })
}

// page returns the file of an embedded page.
func page(name string, html []byte) *file {
	return newFile(name, func() []byte { return versioned(html) })
}

// versioned returns a page with the versions of its files' content in their
// addresses.
func versioned(html []byte) []byte {
	files := map[string]*file{
		"/swagger/index.css": styleFile, "/swagger/swagger-initializer.js": scriptFile,
		"/redoc/redoc.standalone.js": redocBundleFile, "/redoc/redoc-initializer.js": redocScriptFile,
		"/demo/orders/demo.css": demoStyleFile, "/demo/orders/demo.js": demoScriptFile,
		"/guide/guide.css": guideStyleFile, "/guide/guide.js": guideScriptFile,
	}
	for name, f := range vendoredFiles() {
		files[swaggerRoot+name] = f
	}
	for address, f := range files {
		html = bytes.ReplaceAll(html, []byte(`"`+address+`"`), []byte(`"`+address+"?v="+f.version()+`"`))
	}
	return html
}

// contentTypes are the media types by file extension.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json; charset=utf-8",
	".png":  "image/png",
	".svg":  "image/svg+xml",
}

func compress(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(content)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer never fails
	}
	return b.Bytes()
}

// version identifies the content in addresses.
func (f *file) version() string { return f.tag()[1:9] }

// begin sets the header of a response and reports whether to send the
// compressed content.
func (f *file) begin(c *gin.Context) (compressed bool) {
	header := c.Writer.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("ETag", f.tag())
	header.Set("Cache-Control", revalidate)
	if c.Request.URL.RawQuery == "v="+f.version() {
		header.Set("Cache-Control", immutable)
	}
	if f.gzipped() == nil {
		return false
	}
	if !slices.Contains(header["Vary"], "Accept-Encoding") {
		header.Add("Vary", "Accept-Encoding")
	}
	if c.GetHeader("Accept-Encoding") != "gzip" { // as middleware.Compress normalizes it
		return false
	}
	header.Set("Content-Encoding", "gzip")
	header.Set("Content-Length", strconv.Itoa(len(f.gzipped())))
	return true
}

// serve sends the file, or 304 if the client has it.
func (f *file) serve(c *gin.Context) {
	content := f.content()
	if f.begin(c) {
		content = f.gzipped()
	}
	http.ServeContent(c.Writer, c.Request, "", time.Time{}, bytes.NewReader(content))
}
