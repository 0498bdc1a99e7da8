// Package docs serves the API's description and the pages that show it, all embedded: nothing is loaded from elsewhere.
//
// docs.go, swagger.json, swagger.yaml and openapi.json are generated from the annotations beside the handlers by
// scripts/openapi; the prose about the system stands in this folder's Markdown files. The package knows no route, key or
// limit itself.
package docs
