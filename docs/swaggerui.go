package docs

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	ginSwagger "github.com/swaggo/gin-swagger"
	"golang.org/x/net/webdav"
)

// swaggerUIPolicy is the Content-Security-Policy of the Swagger UI page: everything from this server, no inline script.
const swaggerUIPolicy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// swaggerRoot is where SwaggerUI is mounted. The page's links name it, so that /docs can show the page itself.
const swaggerRoot = "/swagger/"

//go:embed swagger-ui/*.js swagger-ui/*.css swagger-ui/*.png
var vendored embed.FS

//go:embed pages/docs.html
var docsPage []byte

//go:embed pages/index.css
var pageStyle []byte

//go:embed pages/swagger-initializer.js
var pageScript []byte

var (
	assets     = mustSub(vendored, "swagger-ui")
	ginHandler = ginSwagger.CustomWrapHandler(&ginSwagger.Config{}, &webdav.Handler{
		FileSystem: newAssetFS(assets),
		LockSystem: webdav.NewMemLS(),
	})
)

// Page answers GET /docs with Swagger UI over the document at /openapi.json.
func Page(c *gin.Context) {
	c.Header("Content-Security-Policy", swaggerUIPolicy)
	serve(c, docsPage, "text/html; charset=utf-8")
}

// SwaggerUI answers GET /swagger/*any: gin-swagger serves the vendored Swagger UI 5 and doc.json, the Swagger 2.0 form
// of the description for older tools; the page, its style and its script are ours, because gin-swagger's page has an
// inline style and its script can't be told to leave out the top bar.
func SwaggerUI(c *gin.Context) {
	switch name := strings.TrimPrefix(c.Param("any"), "/"); name {
	case "":
		c.Redirect(http.StatusFound, "/docs")
	case "index.html":
		Page(c)
	case "index.css":
		serve(c, pageStyle, "text/css; charset=utf-8")
	case "swagger-initializer.js":
		serve(c, pageScript, "text/javascript; charset=utf-8")
	default:
		serveVendored(c, name)
	}
}

// serveVendored lets gin-swagger serve a file that exists, and else answers 404. gin-swagger takes the file's name from
// the raw request URI and keeps the prefix of the first request for ever, so it must only see the one way to write it.
func serveVendored(c *gin.Context, name string) {
	if info, err := fs.Stat(assets, name); name != "doc.json" && (err != nil || info.IsDir()) {
		c.Status(http.StatusNotFound)
		return
	}
	asked := c.Request
	defer func() { c.Request = asked }()
	c.Request = asked.Clone(asked.Context())
	c.Request.RequestURI = swaggerRoot + name
	c.Request.URL.Path = swaggerRoot + name

	c.Header("Cache-Control", "no-cache")
	c.Header("X-Content-Type-Options", "nosniff")
	ginHandler(c)
}

func mustSub(fsys fs.FS, dir string) fs.FS {
	sub, err := fs.Sub(fsys, dir)
	if err != nil {
		panic(err) // an invalid folder name in the source
	}
	return sub
}
