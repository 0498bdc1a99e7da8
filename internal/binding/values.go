package binding

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// What a body's fields can be besides strings, numbers, lists and objects.

// member is a field that notes that it was there.
type member interface {
	// found notes it, and returns a pointer to what the value goes into.
	found() any
}

// Optional is a field that tells whether it was there, as those of a merge patch
// (RFC 7396) do, which keeps what it doesn't name. Where null is allowed, to take
// a value away, T is a pointer.
type Optional[T any] struct {
	Present bool
	Value   T
}

func (o *Optional[T]) found() any {
	o.Present = true
	return &o.Value
}

// Grouped is a body whose policies may be bound to groups.
type Grouped interface {
	// PolicyGroups returns the groups that there are.
	PolicyGroups() []string
}

var (
	policyType   = reflect.TypeFor[ratelimit.Policy]()
	policiesType = reflect.TypeFor[[]ratelimit.Policy]()
)

// special decodes what is spelled as a string, and policies; it reports whether
// into is one of these, and whether it could be read.
func (d *decoder) special(text jsontext.Value, into reflect.Value, pointer string) (known, right bool) {
	if value, ok := reflect.TypeAssert[Text](into.Addr()); ok {
		return true, d.text(text, value, pointer)
	}
	switch into.Type() {
	case policyType:
		list := slices.Concat([]byte("["), text, []byte("]"))
		policies, right := d.policies(list, pointer, func(at string) string { return strings.TrimPrefix(at, "/0") })
		if right {
			into.Set(reflect.ValueOf(policies[0]))
		}
		return true, right
	case policiesType:
		policies, right := d.policies(text, pointer, func(at string) string { return at })
		into.Set(reflect.ValueOf(policies))
		return true, right
	default:
		return false, false
	}
}

func (d *decoder) text(text jsontext.Value, value Text, pointer string) bool {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		d.fault(pointer, "type", "must be a string")
		return false
	}
	code, message := value.ParseText(s)
	if code != "" {
		d.fault(pointer, code, message)
	}
	return code == ""
}

// policies reads a list of policies with every fault of each, and reports
// whether there was none. place turns a pointer within the list into one within
// the value at pointer.
func (d *decoder) policies(list []byte, pointer string, place func(string) string) ([]ratelimit.Policy, bool) {
	policies, err := ratelimit.ParsePolicies(list, ratelimit.WithGroups(d.groups...))
	if invalid, ok := errors.AsType[*ratelimit.InvalidError](err); ok {
		for _, f := range invalid.Faults {
			d.fault(pointer+place(f.Pointer), f.Code, f.Message)
		}
	}
	return policies, err == nil
}

// table reads an object whose names are the sender's.
func (d *decoder) table(text jsontext.Value, into reflect.Value, pointer string) bool {
	if text.Kind() != '{' {
		d.fault(pointer, "type", "must be an object")
		return false
	}
	into.Set(reflect.MakeMap(into.Type()))
	read := reader(text)
	for read.PeekKind() != '}' {
		name, member := readMember(read)
		at := pointer + "/" + models.EscapePointer(name)
		if strings.ContainsRune(name, 0) {
			d.fault(at, "nul", "must not contain the character NUL")
			continue
		}
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(member, value, at)
		into.SetMapIndex(reflect.ValueOf(name), value)
	}
	return true
}
