// Package binding is the one way in for a request's input: path, query, header
// fields and body fill one struct in one pass, and everything that is wrong
// with any of them is told at once. What is right is said by the struct's tags,
// from which the API's description is made too:
//
//	type listOrders struct {
//		Status string `form:"status" enums:"pending,confirmed,cancelled"`
//		Limit  int    `form:"limit" minimum:"1" maximum:"100" default:"20"`
//	}
//
//	in, err := binding.Bind(c, listOrders{})
//
// A field is read from uri:"name", form:"name" (the query) or header:"Name", and
// one with body:"required" or body:"optional" from the JSON body. Fields without
// such a tag are the caller's own, and structs among them are filled likewise.
// Tags that check: validate:"required", minLength, maxLength (in characters; of a
// table its texts), minName, maxName (of a table), minimum, maximum, minItems,
// maxItems, enums, format:"email" and pattern, with says as its message; default
// fills in what wasn't sent. What tags can't say, a Validate method does.
//
// It knows nothing of what the input is for: that is package handlers'.
package binding

import (
	"reflect"
	"slices"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Validator is an input, or a body, that knows more about which values are
// right than its tags say.
type Validator interface {
	// Validate adds a fault for every value that isn't right. Faults of values
	// that could not be read are left out afterwards, so it needn't care.
	Validate(faults *models.Faults)
}

// JSON is the media type of what nearly every operation produces.
const JSON = "application/json"

// Bind returns in, a struct, filled with what the request holds; what in has
// beforehand stays where the request says nothing. produces are the media types
// that the operation can answer with; none: it answers without a body.
// Errors: *models.StatusError (406; 413, 415; 400 for what can't be parsed),
// else *models.InvalidError with every fault.
func Bind[T any](c *gin.Context, in T, produces ...string) (T, error) {
	if err := negotiate(c.Request.Header, produces); err != nil {
		return in, err
	}
	query, err := parseQuery(c.Request)
	if err != nil {
		return in, err
	}
	p := params{c: c, query: query}
	if err := p.fill(reflect.ValueOf(&in).Elem()); err != nil {
		return in, err
	}
	return in, p.Err()
}

// faultList gathers faults, and knows where there are some.
type faultList struct {
	models.Faults
	faulty map[place]bool
}

// place is where in a request a value stands.
type place struct{ location, pointer string }

func (f *faultList) fault(at place, code, message string) {
	if f.faulty == nil {
		f.faulty = map[place]bool{}
	}
	f.faulty[at] = true
	f.Add(at.location, at.pointer, code, message)
}

// validate lets v validate itself, if it can, and adds the faults that are news:
// that a list of the wrong type is also empty is none.
func (f *faultList) validate(v reflect.Value) {
	validator, ok := reflect.TypeAssert[Validator](v.Addr())
	if !ok {
		return
	}
	var found models.Faults
	validator.Validate(&found)
	news := slices.DeleteFunc(found.List(), func(e models.FieldError) bool { return f.covered(place{e.Location, e.Pointer}) })
	for _, e := range news {
		f.fault(place{e.Location, e.Pointer}, e.Code, e.Message)
	}
}
