// Package binding fills structs from requests: path, query, header fields and
// body in one pass, reporting every fault at once. The struct's tags say which
// values are valid; the API description is generated from the same tags:
//
//	type listOrders struct {
//		Status string `form:"status" enums:"pending,confirmed,cancelled"`
//		Limit  int    `form:"limit" minimum:"1" maximum:"100" default:"20"`
//	}
//
//	in, err := binding.Bind(c, listOrders{})
//
// A field is read from uri:"name", form:"name" (the query) or header:"Name"; a
// field with body:"required" or body:"optional" is read from the JSON body.
// Structs without such a tag are filled recursively, other fields are ignored.
//
// Rules: validate:"required", minLength, maxLength (in characters; of a map, of
// its values), minName, maxName (of a map's names), minimum, maximum, minItems,
// maxItems, enums, format:"email" and pattern, with says as its message;
// default is used when the value is absent. A Validate method checks what tags
// can't express, and a DecodeJSON method decodes values with a syntax of their
// own.
package binding

import (
	"reflect"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Validator is an input, or a body, with rules that tags can't express.
type Validator interface {
	// Validate adds a fault for every invalid value. It may report values that
	// could not be read; such faults are dropped.
	Validate(faults *models.Faults)
}

// JSON is the media type of most responses.
const JSON = "application/json"

// Bind returns in, a struct, filled from the request; values that the request
// doesn't have stay as they are. produces are the media types of the response;
// none: it has no body. Errors: *Error (400, 406, 413, 415), or a *models.Error
// of models.KindInvalid with every fault.
func Bind[T any](c *gin.Context, in T, produces ...string) (T, error) {
	if err := negotiate(c.Request.Header, produces); err != nil {
		return in, err
	}
	query, err := parseQuery(c.Request)
	if err != nil {
		return in, err
	}
	p := params{c: c, query: query}
	p.rejectUnknown(reflect.TypeFor[T]())
	if err := p.fill(reflect.ValueOf(&in).Elem()); err != nil {
		return in, err
	}
	return in, p.Err()
}

// faultList collects faults and remembers where they are.
type faultList struct {
	models.Faults
	faulty map[string]bool // by place
}

// place identifies a value in a request.
func place(source models.Source, path []string) string {
	return string(source) + "\x00" + strings.Join(path, "\x00")
}

func (f *faultList) fault(source models.Source, path []string, code, message string) {
	if f.faulty == nil {
		f.faulty = map[string]bool{}
	}
	f.faulty[place(source, path)] = true
	f.AddFault(models.Fault{Source: source, Path: path, Code: code, Message: message})
}

// covered reports whether a value, or in a body something that contains it, has
// a fault already.
func (f *faultList) covered(source models.Source, path []string) bool {
	for n := len(path); n >= 0; n-- {
		if f.faulty[place(source, path[:n])] {
			return true
		}
		if source != models.SourceBody {
			break
		}
	}
	return false
}

// validate calls v's Validate method, if it has one, and adds the faults of
// values without one.
func (f *faultList) validate(v reflect.Value) {
	validator, ok := reflect.TypeAssert[Validator](v.Addr())
	if !ok {
		return
	}
	var found models.Faults
	validator.Validate(&found)
	added := slices.DeleteFunc(found.List(), func(e models.Fault) bool { return f.covered(e.Source, e.Path) })
	for _, e := range added {
		f.fault(e.Source, e.Path, e.Code, e.Message)
	}
}
