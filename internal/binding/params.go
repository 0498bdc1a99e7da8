package binding

import (
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// FieldLines is a parameter that parses all lines of its header field.
type FieldLines interface {
	// ParseLines parses the lines, at least one, or returns the code and the
	// message of a fault.
	ParseLines(lines []string) (code, message string)
}

// params fills a struct from a request.
type params struct {
	faultList
	c     *gin.Context
	query url.Values
}

// parseQuery decodes the query string. Error: *Error (400).
func parseQuery(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, malformed("The query string is not properly encoded.")
	}
	return values, nil
}

// rejectUnknown adds a fault for every query parameter that the input doesn't
// have: a mistyped filter must not return everything.
func (p *params) rejectUnknown(t reflect.Type) {
	if len(p.query) == 0 {
		return
	}
	known := queryNames(t)
	for _, name := range slices.Sorted(maps.Keys(p.query)) {
		if !slices.Contains(known, name) {
			p.fault(models.SourceQuery, []string{name}, "unknown", unknownMessage("query parameter", name, known))
		}
	}
}

// queryNames returns the names of the query parameters of an input type.
func queryNames(t reflect.Type) []string {
	var names []string
	for _, field := range shapeOf(t).inputs {
		switch field.source {
		case models.SourceQuery:
			names = append(names, field.name)
		case "":
			names = append(names, queryNames(t.Field(field.index).Type)...)
		default:
		}
	}
	return names
}

// fill fills a struct's fields and then validates it. Its error is that of a
// body that can't be parsed; other errors are added to the faults.
func (p *params) fill(into reflect.Value) error {
	for _, field := range shapeOf(into.Type()).inputs {
		if err := p.field(field, into.Field(field.index)); err != nil {
			return err
		}
	}
	p.validate(into)
	return nil
}

func (p *params) field(field field, into reflect.Value) error {
	fault := func(code, message string) { p.fault(field.source, []string{field.name}, code, message) }
	switch field.source {
	case models.SourceBody:
		return p.body(field, into)
	case models.SourcePath:
		// The router has checked the encoding. A text that can't be stored
		// identifies nothing, which is a 404 and no fault.
		value, err := url.PathUnescape(p.c.Param(field.name))
		if err != nil {
			return malformed("The path is not properly encoded.")
		}
		into.SetString(value)
		field.check(into, fault)
	case models.SourceQuery:
		value(field, p.query[field.name], into, fault)
	case models.SourceHeader:
		value(field, p.c.Request.Header[textproto.CanonicalMIMEHeaderKey(field.name)], into, fault)
	default:
		return p.fill(into)
	}
	return nil
}

// value reads one parameter.
func value(field field, sent []string, into reflect.Value, fault func(code, message string)) {
	lines, readsLines := reflect.TypeAssert[FieldLines](into.Addr())
	switch {
	case len(sent) > 0 && readsLines:
		if code, message := lines.ParseLines(sent); code != "" {
			fault(code, message)
		}
	case len(sent) == 0:
		field.missing(into, fault)
	case len(sent) > 1:
		fault("duplicate", "must not be repeated")
	default:
		if parseText(sent[0], into, fault) {
			field.check(into, fault)
		}
	}
}

// missing handles a value that wasn't sent: a fault, the default, or nothing.
func (r *rules) missing(into reflect.Value, fault func(code, message string)) {
	switch {
	case r.required:
		fault("required", "is required")
	case r.byDefault != "" && into.IsZero():
		parseText(r.byDefault, into, fault)
	}
}
