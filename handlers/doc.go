// Package handlers decodes requests, calls one service each, and encodes the
// answers: one file a resource. It declares the small interfaces that it
// calls. What is around every handler is in middleware; what goes wrong is
// reported with fail and answered there.
package handlers
