package contract

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// transport lists response headers that a description may omit because they concern the transport, browsers or caches
// instead of the operation. The value is the only one allowed, or "" for any.
var transport = map[string]string{
	"Connection": "", "Content-Encoding": "", "Content-Length": "", "Content-Type": "", "Date": "", "Vary": "",
	"Content-Security-Policy": "", "X-Content-Type-Options": "",
	"Cache-Control": "no-store", // other values must be described
}

// crossOrigin is the prefix of the CORS headers.
const crossOrigin = "Access-Control-"

// checkHeaders returns the missing, invalid and undescribed headers of a response.
func (r response) checkHeaders(header http.Header) []error {
	var faults []error
	described := map[string]bool{}
	for _, param := range r.headers {
		described[http.CanonicalHeaderKey(param.name)] = true
		if err := param.check(header.Values(param.name)); err != nil {
			faults = append(faults, fmt.Errorf("response header %w", err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if !described[name] && !isTransport(name, header[name]) {
			faults = append(faults, fmt.Errorf("response header %s (%q) isn't described", name, header[name]))
		}
	}
	return faults
}

func isTransport(name string, values []string) bool {
	only, known := transport[name]
	return strings.HasPrefix(name, crossOrigin) || known && (only == "" || slices.Equal(values, []string{only}))
}
