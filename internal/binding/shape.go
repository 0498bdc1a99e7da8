package binding

import (
	"reflect"
	"strings"
	"sync"

	"ratelimiter/models"
)

// shape is the parsed tags of a struct type.
type shape struct {
	inputs  []inputField         // of an input
	members map[string]bodyField // of a body, by JSON name
	names   []string             // of the members, in declaration order
}

// inputField is a field that is filled from the request; without a source, a
// struct of such fields.
type inputField struct {
	rules
	index    int
	source   models.Source
	name     string
	optional bool // a body that may be absent
}

// bodyField is a field of a struct within a body.
type bodyField struct {
	rules
	index int
}

var shapes sync.Map // reflect.Type → *shape

// shapeOf returns the shape of a struct type. It panics on an invalid tag, like
// regexp.MustCompile.
func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{members: map[string]bodyField{}}
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() {
			continue
		}
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			s.members[name] = bodyField{rulesOf(field), i}
			s.names = append(s.names, name)
		}
		if input, ok := inputOf(field, i); ok {
			s.inputs = append(s.inputs, input)
		}
	}
	known, _ := shapes.LoadOrStore(t, s)
	return known.(*shape)
}

func inputOf(field reflect.StructField, index int) (inputField, bool) {
	input := inputField{rules: rulesOf(field), index: index}
	for _, from := range []struct {
		tag    string
		source models.Source
	}{{"uri", models.SourcePath}, {"form", models.SourceQuery}, {"header", models.SourceHeader}} {
		if name, tagged := field.Tag.Lookup(from.tag); tagged {
			if !isParameter(field.Type) { // found by the first request, not only by one that sends the parameter
				panic("binding: a parameter can't be a " + field.Type.String())
			}
			input.source, input.name = from.source, name
			return input, true
		}
	}
	if need, tagged := field.Tag.Lookup("body"); tagged {
		input.source, input.optional = models.SourceBody, need == "optional"
		return input, true
	}
	return input, field.Type.Kind() == reflect.Struct && field.Tag == ""
}

// isParameter reports whether a value of this type can be read from a parameter.
func isParameter(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	own := reflect.PointerTo(t)
	switch t.Kind() {
	case reflect.String, reflect.Int, reflect.Int64:
		return true
	default:
		return own.Implements(reflect.TypeFor[Text]()) || own.Implements(reflect.TypeFor[FieldLines]())
	}
}
