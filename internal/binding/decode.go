package binding

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ratelimiter/models"
)

// DecodeJSON fills out, a path to a struct, from JSON as strictly as Bind
// fills it from a body. Errors: *Error (400) for malformed JSON, or a
// *models.Error of models.KindInvalid with every fault.
func DecodeJSON(text []byte, out any) error {
	if err := checkSyntax(text); err != nil {
		return err
	}
	var faults faultList
	faults.decode(text, reflect.ValueOf(out).Elem())
	return faults.Err()
}

// decode fills a value from JSON whose syntax was checked, and validates it. It
// continues after a fault.
func (f *faultList) decode(text []byte, into reflect.Value) {
	d := decoder{f}
	d.value(text, into, nil, &rules{})
	f.validate(into)
}

// decoder walks JSON and the Go value that it fills in parallel. Paths are those
// of models.Fault.
type decoder struct{ *faultList }

func (d decoder) fault(path []string, code, message string) {
	d.faultList.fault(models.SourceBody, path, code, message)
}

// child returns the path of a field or list element.
func child(path []string, name string) []string { return append(slices.Clip(path), name) }

// value reads any value and reports whether it could be read. Rules for the
// members of a map are checked, others are the caller's.
func (d decoder) value(text jsontext.Value, into reflect.Value, path []string, r *rules) bool {
	into = found(into)
	if text.Kind() == 'n' {
		if into.Kind() != reflect.Pointer {
			d.fault(path, "null", "must not be null")
			return false
		}
		return true
	}
	if known, right := d.special(text, into, path); known {
		return right
	}
	switch into.Kind() {
	case reflect.Pointer: // left nil unless it is right
		value := reflect.New(into.Type().Elem())
		right := d.value(text, value.Elem(), path, r)
		if right {
			into.Set(value)
		}
		return right
	case reflect.Struct:
		return d.object(text, into, path)
	case reflect.Slice:
		return d.list(text, into, path)
	case reflect.Map:
		return d.table(text, into, path, r)
	default:
		return d.scalar(text, into, path)
	}
}

func (d decoder) scalar(text jsontext.Value, into reflect.Value, path []string) bool {
	if into.Kind() == reflect.Int64 {
		text = wholeNumber(text)
	}
	if err := json.Unmarshal(text, into.Addr().Interface()); err != nil {
		d.fault(path, "type", "must be "+typeName(into.Kind()))
		return false
	}
	if into.Kind() != reflect.String {
		return true
	}
	code, message := bodyTextFault(into.String())
	if code != "" {
		d.fault(path, code, message)
	}
	return code == ""
}

// wholeNumber spells an integral number such as 2.0 or 1e3 as Go's decoders
// expect integers. Other numbers are returned unchanged.
func wholeNumber(text jsontext.Value) jsontext.Value {
	if text.Kind() != '0' || !strings.ContainsAny(string(text), ".eE") {
		return text
	}
	const exact = 1 << 53 // beyond it float64 can't represent every integer
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= exact {
		return text
	}
	// The float is rounded: 1.00000000000000000001 and 1e-400 are no integers.
	mantissa, _, _ := strings.Cut(strings.ToLower(string(text)), "e")
	if f == 0 && strings.Trim(mantissa, "-0.") != "" {
		return text
	}
	if r, ok := new(big.Rat).SetString(string(text)); f != 0 && (!ok || !r.IsInt()) {
		return text
	}
	return strconv.AppendInt(nil, int64(f), 10)
}

// maxListItems bounds how much of a list is read. It exceeds what any rule
// allows, so that the rules still find the list too long.
const maxListItems = 1000

func (d decoder) list(text jsontext.Value, into reflect.Value, path []string) bool {
	if text.Kind() != '[' {
		d.fault(path, "type", "must be a list")
		return false
	}
	read := reader(text)
	for i := 0; read.PeekKind() != ']' && i <= maxListItems; i++ {
		into.Set(reflect.Append(into, reflect.Zero(into.Type().Elem())))
		d.value(mustRead(read), into.Index(i), child(path, strconv.Itoa(i)), &rules{})
	}
	if into.IsNil() { // empty, not absent
		into.Set(reflect.MakeSlice(into.Type(), 0, 0))
	}
	return true
}

func (d decoder) object(text jsontext.Value, into reflect.Value, path []string) bool {
	if text.Kind() != '{' {
		d.fault(path, "type", "must be an object")
		return false
	}
	shape := shapeOf(into.Type())
	there := make(map[string]bool, len(shape.members))
	read := reader(text)
	for read.PeekKind() != '}' {
		name, value := readMember(read)
		at := child(path, name)
		field, known := shape.members[name]
		if !known {
			d.fault(at, "unknown", unknownMessage("field", name, shape.names))
			continue
		}
		there[name] = true
		if into := into.Field(field.index); d.value(value, into, at, &field.rules) {
			field.check(found(into), func(code, message string) { d.fault(at, code, message) })
		}
	}
	for _, name := range shape.names {
		if field := shape.members[name]; !there[name] {
			field.missing(into.Field(field.index), func(code, message string) { d.fault(child(path, name), code, message) })
		}
	}
	return true
}

// readMember reads a name and its value from an object of valid syntax.
func readMember(read *jsontext.Decoder) (string, jsontext.Value) {
	var name string
	if err := json.Unmarshal(mustRead(read), &name); err != nil {
		panic(err)
	}
	return name, mustRead(read)
}

func typeName(kind reflect.Kind) string {
	switch kind {
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	default:
		return fmt.Sprint("of another type than ", kind)
	}
}

// reader returns a decoder positioned after the opening bracket of text.
func reader(text jsontext.Value) *jsontext.Decoder {
	read := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := read.ReadToken(); err != nil {
		panic(err) // the syntax was checked
	}
	return read
}

// mustRead reads the next value of a text of valid syntax.
func mustRead(read *jsontext.Decoder) jsontext.Value {
	value, err := read.ReadValue()
	if err != nil {
		panic(err)
	}
	return value.Clone()
}
