package docs

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// redocPolicy is the Content-Security-Policy of the ReDoc page. In addition to pagePolicy, it allows what ReDoc 2.5.4
// needs: the hashes of its two style elements (an empty one, which styled-components fills through the CSSOM, and that of
// the scrollbar), and a blob: worker for its search.
const redocPolicy = "default-src 'self'; script-src 'self'; " +
	"style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; " +
	"img-src 'self' data:; worker-src blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

//go:embed redoc/redoc.standalone.js
var redocBundle []byte

//go:embed pages/redoc.html
var redocPage []byte

//go:embed pages/redoc-initializer.js
var redocScript []byte

var (
	redocFile       = page("redoc.html", redocPage)
	redocBundleFile = embedded("redoc.standalone.js", redocBundle)
	redocScriptFile = embedded("redoc-initializer.js", redocScript)
)

// Reference handles GET /redoc: the ReDoc page of /openapi.json.
func Reference(c *gin.Context) {
	c.Header("Content-Security-Policy", redocPolicy)
	redocFile.serve(c)
}

// ReDoc handles GET /redoc/*any: the vendored ReDoc bundle and the script that starts it.
func ReDoc(c *gin.Context) {
	switch strings.TrimPrefix(c.Param("any"), "/") {
	case "":
		c.Redirect(http.StatusFound, "/redoc")
	case "redoc.standalone.js":
		redocBundleFile.serve(c)
	case "redoc-initializer.js":
		redocScriptFile.serve(c)
	default:
		c.Status(http.StatusNotFound)
	}
}
