package contract

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// check compares a response with its description and returns the differences.
func (r response) check(e Exchange) []error {
	faults := r.checkHeaders(e.Header)
	if e.Method == http.MethodHead {
		return faults
	}
	if len(r.content) == 0 {
		if len(e.Body) > 0 {
			faults = append(faults, fmt.Errorf("the response has an undescribed body of %d bytes", len(e.Body)))
		}
		return faults
	}
	if err := checkContent(r.content, e.Header.Get("Content-Type"), e.Body); err != nil {
		faults = append(faults, fmt.Errorf("response %w", err))
	}
	return faults
}

// checkRequest returns why an accepted request should have been rejected.
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
			faults = append(faults, fmt.Errorf("accepted although the %s parameter %w", param.in, err))
		}
	}
	switch {
	case op.body == nil:
		if len(e.RequestBody) > 0 {
			faults = append(faults, errors.New("accepted with an undescribed body"))
		}
	case len(e.RequestBody) == 0:
		if op.body.required {
			faults = append(faults, errors.New("accepted without the required body"))
		}
	default:
		if err := checkContent(op.body.content, e.RequestHeader.Get("Content-Type"), e.RequestBody); err != nil {
			faults = append(faults, fmt.Errorf("accepted although the request %w", err))
		}
	}
	return faults
}

// check checks the values of a parameter. No values means that it is absent.
func (p parameter) check(values []string) error {
	switch {
	case len(values) == 0 && p.required:
		return fmt.Errorf("%s is required but missing", p.name)
	case len(values) == 0:
		return nil
	case !p.list && len(values) > 1:
		return fmt.Errorf("%s is repeated %d times", p.name, len(values))
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

// checkContent checks the media type of a body, and the body if it is JSON.
func checkContent(content map[string]*jsonschema.Schema, contentType string, data []byte) error {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("has Content-Type %q: %w", contentType, err)
	}
	schema, known := content[mediaType]
	if !known {
		return fmt.Errorf("has media type %s; want one of %v", mediaType, slices.Sorted(maps.Keys(content)))
	}
	if schema == nil || !isJSON(mediaType) {
		return nil
	}
	value, err := decode(data)
	if err != nil {
		return fmt.Errorf("is not JSON: %w", err)
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("is %s: %w", shorten(data), err)
	}
	return nil
}

// maxQuoted is how much of a body an error quotes, in bytes.
const maxQuoted = 500

func shorten(data []byte) string {
	if len(data) > maxQuoted {
		return string(data[:maxQuoted]) + "…"
	}
	return string(data)
}
