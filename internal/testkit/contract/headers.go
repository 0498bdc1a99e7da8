package contract

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// transport are the header fields of answers that a description needn't name, for they are about the transport, the
// browser or caches on the way and not about the operation; with the one value that a field may have unnamed, or any.
var transport = map[string]string{
	"Connection": "", "Content-Encoding": "", "Content-Length": "", "Content-Type": "", "Date": "", "Vary": "",
	"Content-Security-Policy": "", "X-Content-Type-Options": "",
	"Cache-Control": "no-store", // what may be kept is said
}

// crossOrigin is how fields begin that let scripts of other origins read an answer.
const crossOrigin = "Access-Control-"

// checkHeaders returns what in an answer's header its description doesn't say: a field that is missing, one that isn't
// right, and one that isn't named at all.
func (r response) checkHeaders(answer http.Header) []error {
	var faults []error
	named := map[string]bool{}
	for _, header := range r.headers {
		named[http.CanonicalHeaderKey(header.name)] = true
		if err := header.check(answer.Values(header.name)); err != nil {
			faults = append(faults, fmt.Errorf("answer's header %w", err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(answer)) {
		if !named[name] && !isTransport(name, answer[name]) {
			faults = append(faults, fmt.Errorf("answer's header %s (%q) isn't described", name, answer[name]))
		}
	}
	return faults
}

func isTransport(name string, values []string) bool {
	only, known := transport[name]
	return strings.HasPrefix(name, crossOrigin) || known && (only == "" || slices.Equal(values, []string{only}))
}
