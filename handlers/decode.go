package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ratelimiter/models"
)

// decode fills out from a JSON text whose syntax is right, and validates it.
// It goes on after a fault, so that every one is told at once. Error:
// *models.InvalidError.
func decode(text []byte, out validator) error {
	d := decoder{faulty: map[string]bool{}}
	if g, ok := out.(grouped); ok {
		d.groups = g.policyGroups()
	}
	d.value(text, reflect.ValueOf(out).Elem(), "")
	var values models.Faults
	out.validate(&values)
	d.merge(values)
	return d.faults.Err()
}

// joinFaults adds faults to an error of reading a request: one list where both
// are lists, and err alone where it is worse.
func joinFaults(err error, faults models.Faults) error {
	var invalid *models.InvalidError
	switch {
	case err == nil:
		return faults.Err()
	case errors.As(err, &invalid):
		return &models.InvalidError{Faults: slices.Concat(faults.List(), invalid.Faults), Total: len(faults.List()) + invalid.Total}
	default:
		return err
	}
}

// decoder walks a JSON text along the Go value that it is to fill.
type decoder struct {
	faults models.Faults
	faulty map[string]bool // JSON pointers that have a fault
	groups []string        // what a policy's group can be
}

func (d *decoder) fault(pointer, code, message string) {
	d.faulty[pointer] = true
	d.faults.Body(pointer, code, message)
}

// merge adds the faults of values, but for those whose value could not be
// decoded: that a list of the wrong type is also empty is no news.
func (d *decoder) merge(values models.Faults) {
	for _, f := range values.List() {
		if !d.covered(f.Pointer) {
			d.faults.Body(f.Pointer, f.Code, f.Message)
		}
	}
}

// covered reports whether pointer, or what it is in, has a fault already.
func (d *decoder) covered(pointer string) bool {
	for {
		if d.faulty[pointer] {
			return true
		}
		i := strings.LastIndexByte(pointer, '/')
		if i < 0 {
			return false
		}
		pointer = pointer[:i]
	}
}

func (d *decoder) value(text jsontext.Value, into reflect.Value, pointer string) {
	if member, ok := reflect.TypeAssert[member](into.Addr()); ok {
		into = reflect.ValueOf(member.found()).Elem()
	}
	if text.Kind() == 'n' {
		if into.Kind() != reflect.Pointer {
			d.fault(pointer, "null", "must not be null")
		}
		return
	}
	if d.special(text, into, pointer) {
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(text, into.Elem(), pointer)
	case reflect.Struct:
		d.object(text, into, pointer)
	case reflect.Slice:
		d.list(text, into, pointer)
	case reflect.Map:
		d.table(text, into, pointer)
	default:
		d.scalar(text, into, pointer)
	}
}

func (d *decoder) scalar(text jsontext.Value, into reflect.Value, pointer string) {
	if err := json.Unmarshal(text, into.Addr().Interface()); err != nil {
		d.fault(pointer, "type", "must be "+typeName(into.Kind()))
		return
	}
	if into.Kind() == reflect.String && strings.ContainsRune(into.String(), 0) {
		d.fault(pointer, "nul", "must not contain the character NUL")
	}
}

// maxListItems is where a list is read no further: one more than the longest
// that any shape allows, so that its validation still sees that it is too long.
const maxListItems = 1000

func (d *decoder) list(text jsontext.Value, into reflect.Value, pointer string) {
	if text.Kind() != '[' {
		d.fault(pointer, "type", "must be a list")
		return
	}
	read := reader(text)
	for i := 0; read.PeekKind() != ']' && i <= maxListItems; i++ {
		into.Set(reflect.Append(into, reflect.Zero(into.Type().Elem())))
		d.value(mustRead(read), into.Index(i), pointer+"/"+strconv.Itoa(i))
	}
	if into.IsNil() { // an empty list is not an absent one
		into.Set(reflect.MakeSlice(into.Type(), 0, 0))
	}
}

func (d *decoder) object(text jsontext.Value, into reflect.Value, pointer string) {
	if text.Kind() != '{' {
		d.fault(pointer, "type", "must be an object")
		return
	}
	fields := fieldsOf(into.Type())
	read := reader(text)
	for read.PeekKind() != '}' {
		name, member := readMember(read)
		at := pointer + "/" + escapePointer(name)
		if index, known := fields[name]; known {
			d.value(member, into.Field(index), at)
		} else {
			d.fault(at, "unknown", unknownMessage(name, fields))
		}
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

// fieldsOf returns the index of each field of a struct by its JSON name. Fields
// without one are no part of the shape.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = i
		}
	}
	return fields
}

func unknownMessage(name string, fields map[string]int) string {
	for known := range fields {
		if strings.EqualFold(known, name) {
			return fmt.Sprintf("is not a field here: did you mean %q? Names are case-sensitive", known)
		}
	}
	return "is not a field here"
}

func typeName(kind reflect.Kind) string {
	switch kind {
	case reflect.String:
		return "a string"
	case reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	default:
		return "of another type"
	}
}

// escapePointer escapes a name for a JSON pointer (RFC 6901, section 3).
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func escapePointer(name string) string { return pointerEscapes.Replace(name) }

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
