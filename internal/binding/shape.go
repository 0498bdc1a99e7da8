package binding

import (
	"reflect"
	"strings"
	"sync"

	"ratelimiter/models"
)

// shape is the parsed tags of a struct type.
type shape struct {
	inputs  []field          // of an input
	members map[string]field // of a body, by JSON name
	names   []string         // of the members, in declaration order
}

// field is a field that is filled from the request, or that of a struct within a
// body. Without a source it is a struct of such fields.
type field struct {
	rules
	index    int
	source   models.Source // of an input
	name     string
	optional bool // a body that may be absent
}

var shapes sync.Map // reflect.Type → *shape

// shapeOf returns the shape of a struct type. It panics on an invalid tag, like
// regexp.MustCompile.
func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{members: map[string]field{}}
	for i := range t.NumField() {
		declared := t.Field(i)
		if !declared.IsExported() {
			continue
		}
		if name, _, _ := strings.Cut(declared.Tag.Get("json"), ","); name != "" && name != "-" {
			s.members[name] = field{rules: rulesOf(declared), index: i}
			s.names = append(s.names, name)
		}
		if input, ok := inputOf(declared, i); ok {
			s.inputs = append(s.inputs, input)
		}
	}
	known, _ := shapes.LoadOrStore(t, s)
	return known.(*shape)
}

func inputOf(declared reflect.StructField, index int) (field, bool) {
	input := field{rules: rulesOf(declared), index: index}
	for _, from := range []struct {
		tag    string
		source models.Source
	}{{"uri", models.SourcePath}, {"form", models.SourceQuery}, {"header", models.SourceHeader}} {
		if name, tagged := declared.Tag.Lookup(from.tag); tagged {
			if !isParameter(declared.Type) { // found by the first request, not only by one that sends the parameter
				panic("binding: a parameter can't be a " + declared.Type.String())
			}
			input.source, input.name = from.source, name
			return input, true
		}
	}
	if need, tagged := declared.Tag.Lookup("body"); tagged {
		input.source, input.optional = models.SourceBody, need == "optional"
		return input, true
	}
	return input, declared.Type.Kind() == reflect.Struct && declared.Tag == ""
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
