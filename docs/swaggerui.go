package docs

import (
	"embed"
	"net/http"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
	ginSwagger "github.com/swaggo/gin-swagger"
	"golang.org/x/net/webdav"
)

// pagePolicy is the Content-Security-Policy of the Swagger UI page and of the guide: this origin only, nothing inline.
const pagePolicy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
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
	docsFile     = page("docs.html", docsPage)
	styleFile    = embedded("index.css", pageStyle)
	scriptFile   = embedded("swagger-initializer.js", pageScript)
	swagger2File = newFile("doc.json", func() []byte { return []byte(SwaggerInfo.ReadDoc()) })
)

// vendoredFiles are the files of Swagger UI by name.
var vendoredFiles = sync.OnceValue(func() map[string]*file {
	entries, err := vendored.ReadDir("swagger-ui")
	if err != nil {
		panic(err) // an invalid folder name in the source
	}
	files := map[string]*file{}
	for _, entry := range entries {
		files[entry.Name()] = newFile(entry.Name(), func() []byte {
			content, err := vendored.ReadFile("swagger-ui/" + entry.Name())
			if err != nil {
				panic(err) // it is embedded
			}
			return content
		})
	}
	return files
})

var ginHandler = sync.OnceValue(func() gin.HandlerFunc {
	return ginSwagger.CustomWrapHandler(&ginSwagger.Config{}, &webdav.Handler{
		FileSystem: newAssetFS(vendoredFiles()),
		LockSystem: webdav.NewMemLS(),
	})
})

// Page handles GET /docs: the Swagger UI page of /openapi.json.
func Page(c *gin.Context) {
	c.Header("Content-Security-Policy", pagePolicy)
	docsFile.serve(c)
}

// SwaggerUI handles GET /swagger/*any. gin-swagger serves the vendored Swagger UI 5; doc.json is the description in
// Swagger 2.0 for older tools. The page, its style and its script are our own: those of gin-swagger have an inline style
// and no option to hide the top bar.
func SwaggerUI(c *gin.Context) {
	switch name := strings.TrimPrefix(c.Param("any"), "/"); name {
	case "":
		c.Redirect(http.StatusFound, "/docs")
	case "index.html":
		Page(c)
	case "index.css":
		styleFile.serve(c)
	case "swagger-initializer.js":
		scriptFile.serve(c)
	case "doc.json":
		swagger2File.serve(c)
	default:
		serveVendored(c, name)
	}
}

// Favicon handles GET /favicon.ico, which browsers ask for on pages without an icon.
func Favicon(c *gin.Context) { serveVendored(c, "favicon-32x32.png") }

// serveVendored lets gin-swagger serve an existing file, and sends 404 otherwise. gin-swagger takes the file name from the
// raw request URI and remembers the prefix of its first request, so it must only see canonical paths.
func serveVendored(c *gin.Context, name string) {
	f, found := vendoredFiles()[name]
	if !found {
		c.Status(http.StatusNotFound)
		return
	}
	original := c.Request
	defer func() { c.Request = original }()
	c.Request = original.Clone(original.Context())
	c.Request.Method = http.MethodGet // gin-swagger refuses HEAD; net/http leaves the body out
	c.Request.RequestURI = swaggerRoot + name
	c.Request.URL.Path = swaggerRoot + name
	if f.begin(c) {
		c.Request.URL.Path += gzipSuffix
	}
	ginHandler()(c)
}
