package docs

import (
	"bytes"
	_ "embed"

	"github.com/gin-gonic/gin"
)

//go:embed openapi.json
var openAPI []byte

var openAPIFile = embedded("openapi.json", openAPI)

// Spec handles GET /openapi.json: the OpenAPI 3.1 description, or 304 if the client has it.
func Spec(c *gin.Context) { openAPIFile.serve(c) }

// OpenAPI returns a copy of the OpenAPI 3.1 description.
func OpenAPI() []byte { return bytes.Clone(openAPI) }
