package binding

import (
	"reflect"
	"strings"
	"sync"
)

// shape is what a struct's tags say, read once a type.
type shape struct {
	inputs  []inputField         // where each field of an input comes from
	members map[string]bodyField // a body's, by their JSON names
	names   []string             // of the members, in the order of the source
}

// inputField is a field that is filled from the request; with no location, a
// struct of such fields.
type inputField struct {
	rules
	index    int
	location string
	name     string
	optional bool // a body that may be absent
}

// bodyField is a field of a struct within a body.
type bodyField struct {
	rules
	index int
}

var shapes sync.Map // reflect.Type → *shape

// shapeOf returns the shape of a struct type. It panics on a tag that makes no
// sense, as regexp.MustCompile does: a test of every input finds it.
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
	for _, source := range []struct{ tag, location string }{{"uri", inPath}, {"form", inQuery}, {"header", inHeader}} {
		if name, tagged := field.Tag.Lookup(source.tag); tagged {
			if !isParameter(field.Type) { // told by the first request, and not only by one that sends it
				panic("binding: a parameter can't be a " + field.Type.String())
			}
			input.location, input.name = source.location, name
			return input, true
		}
	}
	if need, tagged := field.Tag.Lookup("body"); tagged {
		input.location, input.optional = inBody, need == "optional"
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
