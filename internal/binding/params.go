package binding

import (
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// The places of an input, as faults name them.
const (
	inBody   = "body"
	inQuery  = "query"
	inPath   = "path"
	inHeader = "header"
)

// FieldLines is a parameter that reads all lines of its header field itself.
type FieldLines interface {
	// ParseLines reads the lines, at least one, or returns the code and the
	// message of a fault.
	ParseLines(lines []string) (code, message string)
}

// params fills a struct from a request.
type params struct {
	faultList
	c     *gin.Context
	query url.Values
}

// parseQuery decodes the query string. Error: *models.StatusError (400).
func parseQuery(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &models.StatusError{Status: http.StatusBadRequest, Detail: "The query string is not properly encoded."}
	}
	return values, nil
}

// fill fills a struct's fields, and then validates it. The error is a body's
// that can't be parsed; all else is among the faults.
func (p *params) fill(into reflect.Value) error {
	for _, field := range shapeOf(into.Type()).inputs {
		if err := p.field(field, into.Field(field.index)); err != nil {
			return err
		}
	}
	p.validate(into)
	return nil
}

func (p *params) field(field inputField, into reflect.Value) error {
	at := place{field.location, field.name}
	switch field.location {
	case inBody:
		return p.body(field, into)
	case inPath:
		// What no text may have names nothing: that is a 404, and not told here.
		into.SetString(p.c.Param(field.name))
		field.check(into, func(code, message string) { p.fault(at, code, message) })
	case inQuery:
		p.value(at, field, p.query[field.name], into)
	case inHeader:
		p.value(at, field, p.c.Request.Header[textproto.CanonicalMIMEHeaderKey(field.name)], into)
	default:
		return p.fill(into)
	}
	return nil
}

// value reads one parameter.
func (p *params) value(at place, field inputField, sent []string, into reflect.Value) {
	fault := func(code, message string) { p.fault(at, code, message) }
	lines, readsLines := reflect.TypeAssert[FieldLines](into.Addr())
	switch {
	case len(sent) > 0 && readsLines:
		if code, message := lines.ParseLines(sent); code != "" {
			fault(code, message)
		}
	case len(sent) == 0:
		field.missing(into, fault)
	case len(sent) > 1:
		fault("duplicate", "must be there once")
	default:
		if parseText(sent[0], into, fault) {
			field.check(into, fault)
		}
	}
}

// missing fills in the default of a value that wasn't sent.
func (r *rules) missing(into reflect.Value, fault func(code, message string)) {
	switch {
	case r.required:
		fault("required", "is required")
	case r.byDefault != "" && into.IsZero():
		parseText(r.byDefault, into, fault)
	}
}
