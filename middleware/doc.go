// Package middleware holds what happens around every handler, outermost first:
//
//	Begin        request id, the context's models.Request, the response writer
//	Headers      what browsers and caches must know
//	Log          one line a request
//	Recover      a panic becomes a 500
//	RenderErrors what a handler reported becomes problem+json
//	Authenticate whose key is this, and which quota has it
//	Limit        one decision over the quota; its header fields on the answer
//	Require      the route's scope, the key's addresses
//	Deadline     how long the handler may wait for what it calls
//
// Pool is for handlers that keep a core busy: it bounds how many do at a time.
//
// It decides nothing about quotas itself: that is package ratelimit's.
package middleware
