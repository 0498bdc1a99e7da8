// Package handlers decodes requests, calls one service each and encodes the
// responses, with one file per resource. It declares the small interfaces that
// it calls. Package middleware surrounds every handler and writes the problems
// that handlers report.
package handlers
