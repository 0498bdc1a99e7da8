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

// swaggerUIPolicy is the Content-Security-Policy of the Swagger UI page: this origin only, nothing inline.
const swaggerUIPolicy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// swaggerRoot is the path of SwaggerUI. The links of the page are absolute, so that /docs can serve the page itself.
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

// Page handles GET /docs: the Swagger UI page of /openapi.json.
func Page(c *gin.Context) {
	c.Header("Content-Security-Policy", swaggerUIPolicy)
	serve(c, docsPage, "text/html; charset=utf-8")
}

// SwaggerUI handles GET /swagger/*any. gin-swagger serves the vendored Swagger UI 5 and doc.json, the description in
// Swagger 2.0 for older tools. The page, its style and its script are our own: those of gin-swagger have an inline style
// and no option to hide the top bar.
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

// serveVendored lets gin-swagger serve an existing file, and sends 404 otherwise. gin-swagger takes the file name from the
// raw request URI and remembers the prefix of its first request, so it must only see canonical paths.
func serveVendored(c *gin.Context, name string) {
	if info, err := fs.Stat(assets, name); name != "doc.json" && (err != nil || info.IsDir()) {
		c.Status(http.StatusNotFound)
		return
	}
	original := c.Request
	defer func() { c.Request = original }()
	c.Request = original.Clone(original.Context())
	c.Request.Method = http.MethodGet // gin-swagger refuses HEAD; net/http leaves the body out
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
