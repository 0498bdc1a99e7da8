package client

import (
	"net/http"
	"strings"
)

// operation is what one operation costs, as the API's description says.
type operation struct {
	method, path string // the path as a template: /v1/orders/{id}
	group        string // policies of this group apply, and those without one
	cost         int64  // units; 0 is never refused by the quota
}

// free is what isn't limited: what needs no key, or isn't known.
var free = &operation{}

// operationOf finds the operation of a request; path is below the API's base.
// A HEAD costs what the GET does.
func operationOf(method, path string) *operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	best := free
	for i := range operations {
		op := &operations[i]
		if op.method == method && matches(op.path, path) && (best == free || strings.Count(op.path, "{") < strings.Count(best.path, "{")) {
			best = op
		}
	}
	return best
}

// matches says whether a path is of a template, segment by segment.
func matches(template, path string) bool {
	for {
		want, moreWant, a := strings.Cut(template, "/")
		got, moreGot, b := strings.Cut(path, "/")
		if a != b || want != got && (!strings.HasPrefix(want, "{") || got == "") {
			return false
		}
		if !a {
			return true
		}
		template, path = moreWant, moreGot
	}
}
