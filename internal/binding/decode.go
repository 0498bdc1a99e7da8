package binding

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ratelimiter/models"
)

// DecodeJSON fills out, a pointer to a struct, from a JSON text as strictly as
// Bind fills it from a body. Errors: *models.StatusError (400) for what is no
// JSON, *models.InvalidError with every fault.
func DecodeJSON(text []byte, out any) error {
	if err := checkSyntax(text); err != nil {
		return err
	}
	var faults faultList
	faults.decode(text, reflect.ValueOf(out).Elem())
	return faults.Err()
}

// decode fills a value from a JSON text whose syntax is right, and validates it.
// It goes on after a fault, so that every one is told at once.
func (f *faultList) decode(text []byte, into reflect.Value) {
	d := decoder{faultList: f}
	if g, ok := reflect.TypeAssert[Grouped](into.Addr()); ok {
		d.groups = g.PolicyGroups()
	}
	d.value(text, into, "")
	f.validate(into)
}

// decoder walks a JSON text along the Go value that it is to fill.
type decoder struct {
	*faultList
	groups []string // what a policy's group can be
}

func (d *decoder) fault(pointer, code, message string) {
	d.faultList.fault(place{inBody, pointer}, code, message)
}

// covered reports whether a place, or in a body what it is in, has a fault
// already.
func (f *faultList) covered(at place) bool {
	for {
		if f.faulty[at] {
			return true
		}
		i := strings.LastIndexByte(at.pointer, '/')
		if i < 0 || at.location != inBody {
			return false
		}
		at.pointer = at.pointer[:i]
	}
}

// value reads any value, and reports whether it could be read.
func (d *decoder) value(text jsontext.Value, into reflect.Value, pointer string) bool {
	if member, ok := reflect.TypeAssert[member](into.Addr()); ok {
		into = reflect.ValueOf(member.found()).Elem()
	}
	if text.Kind() == 'n' {
		if into.Kind() != reflect.Pointer {
			d.fault(pointer, "null", "must not be null")
			return false
		}
		return true
	}
	if known, right := d.special(text, into, pointer); known {
		return right
	}
	switch into.Kind() {
	case reflect.Pointer: // left nil unless it is right
		value := reflect.New(into.Type().Elem())
		right := d.value(text, value.Elem(), pointer)
		if right {
			into.Set(value)
		}
		return right
	case reflect.Struct:
		return d.object(text, into, pointer)
	case reflect.Slice:
		return d.list(text, into, pointer)
	case reflect.Map:
		return d.table(text, into, pointer)
	default:
		return d.scalar(text, into, pointer)
	}
}

func (d *decoder) scalar(text jsontext.Value, into reflect.Value, pointer string) bool {
	if into.Kind() == reflect.Int64 {
		text = wholeNumber(text)
	}
	if err := json.Unmarshal(text, into.Addr().Interface()); err != nil {
		d.fault(pointer, "type", "must be "+typeName(into.Kind()))
		return false
	}
	if into.Kind() == reflect.String && strings.ContainsRune(into.String(), 0) {
		d.fault(pointer, "nul", "must not contain the character NUL")
		return false
	}
	return true
}

// wholeNumber spells a number such as 2.0 or 1e3, which JSON knows no other type
// for, as Go's decoders want whole numbers. Others stay as they are.
func wholeNumber(text jsontext.Value) jsontext.Value {
	if text.Kind() != '0' || !strings.ContainsAny(string(text), ".eE") {
		return text
	}
	const exact = 1 << 53 // from there on a float64 doesn't tell every whole number from the next
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= exact {
		return text
	}
	return strconv.AppendInt(nil, int64(f), 10)
}

// maxListItems is where a list is read no further. It is far more than any shape
// allows, so that its rules still see that it is too long.
const maxListItems = 1000

func (d *decoder) list(text jsontext.Value, into reflect.Value, pointer string) bool {
	if text.Kind() != '[' {
		d.fault(pointer, "type", "must be a list")
		return false
	}
	read := reader(text)
	for i := 0; read.PeekKind() != ']' && i <= maxListItems; i++ {
		into.Set(reflect.Append(into, reflect.Zero(into.Type().Elem())))
		d.value(mustRead(read), into.Index(i), pointer+"/"+strconv.Itoa(i))
	}
	if into.IsNil() { // an empty list is not an absent one
		into.Set(reflect.MakeSlice(into.Type(), 0, 0))
	}
	return true
}

func (d *decoder) object(text jsontext.Value, into reflect.Value, pointer string) bool {
	if text.Kind() != '{' {
		d.fault(pointer, "type", "must be an object")
		return false
	}
	shape := shapeOf(into.Type())
	there := make(map[string]bool, len(shape.members))
	read := reader(text)
	for read.PeekKind() != '}' {
		name, value := readMember(read)
		at := pointer + "/" + models.EscapePointer(name)
		field, known := shape.members[name]
		if !known {
			d.fault(at, "unknown", unknownMessage(name, shape.names))
			continue
		}
		there[name] = true
		d.member(value, field, into.Field(field.index), at)
	}
	for _, name := range shape.names {
		if field := shape.members[name]; !there[name] {
			field.missing(into.Field(field.index), func(code, message string) { d.fault(pointer+"/"+name, code, message) })
		}
	}
	return true
}

// member reads the value of a field, and checks it if it could be read.
func (d *decoder) member(text jsontext.Value, field bodyField, into reflect.Value, at string) {
	if !d.value(text, into, at) {
		return
	}
	if member, ok := reflect.TypeAssert[member](into.Addr()); ok {
		into = reflect.ValueOf(member.found()).Elem()
	}
	field.entries(textsOf(into), func(name, code, message string) {
		if where := at + "/" + models.EscapePointer(name); !d.covered(place{inBody, where}) {
			d.fault(where, code, message)
		}
	})
	field.check(into, func(code, message string) { d.fault(at, code, message) })
}

// textsOf returns a table of texts, of which null is nil; nil for anything else.
func textsOf(v reflect.Value) map[string]*string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Map {
		return nil
	}
	switch table := v.Interface().(type) {
	case map[string]*string:
		return table
	case map[string]string:
		texts := make(map[string]*string, len(table))
		for name, text := range table {
			texts[name] = &text
		}
		return texts
	default:
		return nil
	}
}

// readMember reads a name and its value from an object whose syntax was checked.
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

// reader returns a decoder that stands behind the opening bracket of text.
func reader(text jsontext.Value) *jsontext.Decoder {
	read := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := read.ReadToken(); err != nil {
		panic(err) // the syntax was checked
	}
	return read
}

// mustRead reads the next value of a text whose syntax was checked.
func mustRead(read *jsontext.Decoder) jsontext.Value {
	value, err := read.ReadValue()
	if err != nil {
		panic(err)
	}
	return value.Clone()
}
