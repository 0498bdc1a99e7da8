package docs

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// redocPolicy is the Content-Security-Policy of the ReDoc page: as Swagger UI's, and what ReDoc 2.5.4 needs beside it. Its
// styles are two style elements: an empty one, which styled-components fills rule by rule through the CSSOM, and the one
// of its scrollbar. Its search runs in a worker that it makes of its own script.
const redocPolicy = "default-src 'self'; script-src 'self'; " +
	"style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; " +
	"img-src 'self' data:; worker-src blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

//go:embed redoc/redoc.standalone.js
var redocBundle []byte

//go:embed pages/redoc.html
var redocPage []byte

//go:embed pages/redoc-initializer.js
var redocScript []byte

// Home answers GET / by leading to the page where operations can be tried.
func Home(c *gin.Context) { c.Redirect(http.StatusFound, "/docs") }

// Reference answers GET /redoc with ReDoc over the document at /openapi.json.
func Reference(c *gin.Context) {
	c.Header("Content-Security-Policy", redocPolicy)
	serve(c, redocPage, "text/html; charset=utf-8")
}

// ReDoc answers GET /redoc/*any with the vendored ReDoc and the script that starts it.
func ReDoc(c *gin.Context) {
	switch strings.TrimPrefix(c.Param("any"), "/") {
	case "":
		c.Redirect(http.StatusFound, "/redoc")
	case "redoc.standalone.js":
		serve(c, redocBundle, "text/javascript; charset=utf-8")
	case "redoc-initializer.js":
		serve(c, redocScript, "text/javascript; charset=utf-8")
	default:
		c.Status(http.StatusNotFound)
	}
}
