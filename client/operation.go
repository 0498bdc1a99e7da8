package client

import (
	"net/http"
	"path"
)

// operation is what the API's description says about one operation.
type operation struct {
	method  string
	pattern string // of the path, for [path.Match]
	group   string // operations of one group are subject to the same policies
	cost    int64  // units
}

// operationOf finds the operation of a request by its escaped path below the
// base URL. HEAD costs what GET does. An unknown operation costs nothing.
func operationOf(method, escaped string) *operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range operations { // a fixed path comes before a pattern
		op := &operations[i]
		if ok, _ := path.Match(op.pattern, escaped); ok && op.method == method {
			return op
		}
	}
	return &operation{}
}
