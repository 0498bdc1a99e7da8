package binding

import (
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// member is a field that records its presence.
type member interface {
	// found records it and returns a pointer to the value to fill.
	found() any
}

// found returns the value to fill of a field that is present.
func found(field reflect.Value) reflect.Value {
	if member, ok := reflect.TypeAssert[member](field.Addr()); ok {
		return reflect.ValueOf(member.found()).Elem()
	}
	return field
}

// Optional is a field that records whether it was present, as needed for merge
// patches (RFC 7396). Where null is allowed, to remove a value, T is a pointer.
type Optional[T any] struct {
	Present bool
	Value   T
}

func (o *Optional[T]) found() any {
	o.Present = true
	return &o.Value
}

// JSONDecoder is a value with a JSON syntax of its own.
type JSONDecoder interface {
	// DecodeJSON reads valid JSON other than null. It calls fault for everything
	// that is wrong; path is relative to the value.
	DecodeJSON(data []byte, fault func(code, message string, path ...string))
}

// special decodes Text and JSONDecoder values; it reports whether into is one of
// these, and whether it could be read.
func (d decoder) special(text jsontext.Value, into reflect.Value, path []string) (known, valid bool) {
	if into.Addr().Type().Implements(reflect.TypeFor[Text]()) {
		return true, d.text(text, into, path)
	}
	value, ok := reflect.TypeAssert[JSONDecoder](into.Addr())
	if !ok {
		return false, false
	}
	valid = true
	value.DecodeJSON(text, func(code, message string, at ...string) {
		valid = false
		d.fault(slices.Concat(path, at), code, message)
	})
	return true, valid
}

func (d decoder) text(text jsontext.Value, into reflect.Value, path []string) bool {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		d.fault(path, "type", "must be a string")
		return false
	}
	return parseText(s, into, func(code, message string) { d.fault(path, code, message) })
}

// table reads an object with arbitrary names into a map, and checks the names and
// the values.
func (d decoder) table(text jsontext.Value, into reflect.Value, path []string, r *rules) bool {
	if text.Kind() != '{' {
		d.fault(path, "type", "must be an object")
		return false
	}
	into.Set(reflect.MakeMap(into.Type()))
	var right []string
	read := reader(text)
	for read.PeekKind() != '}' {
		name, member := readMember(read)
		at := child(path, name)
		if code, message := bodyTextFault(name); code != "" {
			d.fault(at, code, message)
			continue
		}
		value := reflect.New(into.Type().Elem()).Elem()
		if d.value(member, value, at, &rules{}) {
			right = append(right, name)
		}
		into.SetMapIndex(reflect.ValueOf(name), value)
	}
	for _, name := range right {
		fault := func(code, message string) { d.fault(child(path, name), code, message) }
		if !r.names.check(characters(name), "have a name of", "character", "_name", fault) {
			r.check(into.MapIndex(reflect.ValueOf(name)), fault)
		}
	}
	return true
}
