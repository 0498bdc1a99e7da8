package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// checkResponse compares a response with its description and returns the differences.
func (c *Contract) checkResponse(described *openapi3.Response, e Exchange) []error {
	faults := c.checkHeaders(described.Headers, e.Header)
	switch {
	case e.Method == http.MethodHead:
	case len(described.Content) > 0:
		if err := c.checkContent(described.Content, e.Header.Get("Content-Type"), e.Body); err != nil {
			faults = append(faults, fmt.Errorf("response %w", err))
		}
	case len(e.Body) > 0:
		faults = append(faults, fmt.Errorf("the response has an undescribed body of %d bytes", len(e.Body)))
	}
	return faults
}

// checkRequest returns why an accepted request should have been rejected.
func (c *Contract) checkRequest(op *openapi3.Operation, e Exchange, path map[string]string) []error {
	var faults []error
	query := e.URL.Query()
	for _, ref := range op.Parameters {
		param := ref.Value
		values := query[param.Name]
		switch param.In {
		case openapi3.ParameterInPath:
			values = []string{path[param.Name]}
		case openapi3.ParameterInHeader:
			values = e.RequestHeader.Values(param.Name)
		}
		if err := c.checkParameter(param.Name, param, values); err != nil {
			faults = append(faults, fmt.Errorf("accepted although the %s parameter %w", param.In, err))
		}
	}
	switch {
	case op.RequestBody == nil:
		if len(e.RequestBody) > 0 {
			faults = append(faults, errors.New("accepted with an undescribed body"))
		}
	case len(e.RequestBody) == 0:
		if op.RequestBody.Value.Required {
			faults = append(faults, errors.New("accepted without the required body"))
		}
	default:
		if err := c.checkContent(op.RequestBody.Value.Content, e.RequestHeader.Get("Content-Type"), e.RequestBody); err != nil {
			faults = append(faults, fmt.Errorf("accepted although the request %w", err))
		}
	}
	return faults
}

// checkParameter checks the values of a parameter or a header. No values means that it is absent.
func (c *Contract) checkParameter(name string, param *openapi3.Parameter, values []string) error {
	schema := &openapi3.Schema{}
	if param.Schema != nil {
		schema = param.Schema.Value
	}
	list := schema.Type.Is(openapi3.TypeArray)
	switch {
	case len(values) == 0 && param.Required:
		return fmt.Errorf("%s is required but missing", name)
	case len(values) == 0:
		return nil
	case !list && len(values) > 1:
		return fmt.Errorf("%s is repeated %d times", name, len(values))
	case param.Schema == nil:
		return nil
	}
	value := parse(schema, values[0])
	if list {
		var items []any
		for _, item := range values {
			items = append(items, parse(schema.Items.Value, item))
		}
		value = items
	}
	if err := c.validate(param.Schema, value); err != nil {
		return fmt.Errorf("%s is %q: %w", name, values, err)
	}
	return nil
}

// checkContent checks the media type of a body, and the body if it is JSON.
func (c *Contract) checkContent(content openapi3.Content, contentType string, data []byte) error {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("has Content-Type %q: %w", contentType, err)
	}
	described, known := content[mediaType]
	if !known {
		return fmt.Errorf("has media type %s; want one of %v", mediaType, slices.Sorted(maps.Keys(content)))
	}
	if described.Schema == nil || mediaType != "application/json" && !strings.HasSuffix(mediaType, "+json") {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil || !json.Valid(data) { // data after the value isn't valid
		return fmt.Errorf("is not JSON: %.*s", maxQuoted, data)
	}
	if err := c.validate(described.Schema, value); err != nil {
		return fmt.Errorf("is %.*s: %w", maxQuoted, data, err)
	}
	return nil
}

// maxQuoted is how much of a body an error quotes, in bytes.
const maxQuoted = 500

// validate returns how a value differs from a schema.
func (c *Contract) validate(schema *openapi3.SchemaRef, value any) error {
	compiled, err := c.compiled(schema)
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}

// parse converts the text of a parameter to its type. Invalid text stays a string, which the schema then rejects.
func parse(schema *openapi3.Schema, value string) any {
	if schema.Type == nil || schema.Type.Includes(openapi3.TypeString) {
		return value
	}
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
	if _, isText := parsed.(string); err != nil || isText {
		return value
	}
	return parsed
}
