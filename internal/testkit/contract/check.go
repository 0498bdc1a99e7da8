package contract

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// check returns what in an answer its description doesn't say.
func (r response) check(e Exchange) []error {
	faults := r.checkHeaders(e.Header)
	if e.Method == http.MethodHead {
		return faults
	}
	if len(r.content) == 0 {
		if len(e.Body) > 0 {
			faults = append(faults, fmt.Errorf("a body of %d bytes that isn't described", len(e.Body)))
		}
		return faults
	}
	if err := checkContent(r.content, e.Header.Get("Content-Type"), e.Body); err != nil {
		faults = append(faults, fmt.Errorf("answer %w", err))
	}
	return faults
}

// checkRequest returns what in a request that was accepted its description doesn't allow.
func (op *operation) checkRequest(e Exchange, path map[string]string) []error {
	var faults []error
	query := e.URL.Query()
	for _, param := range op.params {
		var values []string
		switch param.in {
		case "path":
			values = []string{path[param.name]}
		case "query":
			values = query[param.name]
		case "header":
			values = e.RequestHeader.Values(param.name)
		}
		if err := param.check(values); err != nil {
			faults = append(faults, fmt.Errorf("accepted, although the %s parameter %w", param.in, err))
		}
	}
	switch {
	case op.body == nil:
		if len(e.RequestBody) > 0 {
			faults = append(faults, errors.New("accepted with a body that isn't described"))
		}
	case len(e.RequestBody) == 0:
		if op.body.required {
			faults = append(faults, errors.New("accepted without the body that is required"))
		}
	default:
		if err := checkContent(op.body.content, e.RequestHeader.Get("Content-Type"), e.RequestBody); err != nil {
			faults = append(faults, fmt.Errorf("accepted, although the request %w", err))
		}
	}
	return faults
}

// check checks a parameter's values; none: it isn't there.
func (p parameter) check(values []string) error {
	switch {
	case len(values) == 0 && p.required:
		return fmt.Errorf("%s is required, and isn't there", p.name)
	case len(values) == 0:
		return nil
	case !p.list && len(values) > 1:
		return fmt.Errorf("%s is there %d times", p.name, len(values))
	}
	var value any
	if p.list {
		var list []any
		for _, item := range values {
			list = append(list, parse(p.typ, item))
		}
		value = list
	} else {
		value = parse(p.typ, values[0])
	}
	if p.schema == nil {
		return nil
	}
	if err := p.schema.Validate(value); err != nil {
		return fmt.Errorf("%s is %q: %w", p.name, values, err)
	}
	return nil
}

// checkContent checks a body's media type, and the body itself where it is JSON.
func checkContent(content map[string]*jsonschema.Schema, contentType string, data []byte) error {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("is of type %q: %w", contentType, err)
	}
	schema, known := content[mediaType]
	if !known {
		types := []string{}
		for name := range content {
			types = append(types, name)
		}
		slices.Sort(types)
		return fmt.Errorf("is of type %s; described are %v", mediaType, types)
	}
	if schema == nil || !isJSON(mediaType) {
		return nil
	}
	value, err := decode(data)
	if err != nil {
		return fmt.Errorf("is no JSON: %w", err)
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("is %s: %w", shorten(data), err)
	}
	return nil
}

// longest is how much of a body a fault quotes, in bytes.
const longest = 500

func shorten(data []byte) string {
	if len(data) > longest {
		return string(data[:longest]) + "…"
	}
	return string(data)
}
