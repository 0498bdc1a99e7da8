// Package middleware holds what happens around every handler, outermost first:
//
//	Begin        request id, the context's models.Request, the response writer
//	Log          one line a request
//	Recover      a panic becomes a 500
//	RenderErrors what a handler reported becomes problem+json
//	Authenticate whose key is this, and which quota has it
//	Limit        one decision over the quota; its header fields on the answer
//	Require      the route's scope
//
// It decides nothing about quotas itself: that is package ratelimit's.
package middleware
