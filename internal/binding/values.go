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
	if value, ok := reflect.TypeAssert[Text](into.Addr()); ok {
		return true, d.text(text, value, path)
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

func (d decoder) text(text jsontext.Value, value Text, path []string) bool {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		d.fault(path, "type", "must be a string")
		return false
	}
	code, message := value.ParseText(s)
	if code != "" {
		d.fault(path, code, message)
	}
	return code == ""
}

// table reads an object with arbitrary names into a map.
func (d decoder) table(text jsontext.Value, into reflect.Value, path []string) bool {
	if text.Kind() != '{' {
		d.fault(path, "type", "must be an object")
		return false
	}
	into.Set(reflect.MakeMap(into.Type()))
	read := reader(text)
	for read.PeekKind() != '}' {
		name, member := readMember(read)
		at := child(path, name)
		if code, message := bodyTextFault(name); code != "" {
			d.fault(at, code, message)
			continue
		}
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(member, value, at)
		into.SetMapIndex(reflect.ValueOf(name), value)
	}
	return true
}
