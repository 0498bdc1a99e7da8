// Package middleware holds what surrounds every handler, outermost first:
//
//	Begin         request id, request state, response writer
//	Headers       header fields for browsers and caches
//	Log           one line per request
//	Recover       turns a panic into a 500
//	RenderErrors  turns reported errors into problem+json
//	Authenticate  resolves the API key and its quota
//	AllowAddress  the key's IP allow-list
//	Limit         one decision over the quota, with its header fields
//	Require       the route's scope
//	Deadline      bounds how long the handler may wait
//
// Package ratelimit decides about quotas.
package middleware
