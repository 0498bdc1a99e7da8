// Package docs serves the OpenAPI description and the Swagger UI and ReDoc pages that show it. All files are embedded; the
// pages load nothing from other servers.
//
// scripts/openapi generates docs.go, swagger.json, swagger.yaml and openapi.json from the annotations of the handlers.
package docs
