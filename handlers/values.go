package handlers

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ratelimiter/ratelimit"
)

// What a body's fields can be besides strings, numbers, lists and objects.

// member is a field that notes that it was there.
type member interface {
	// found notes it, and returns a pointer to what the value goes into.
	found() any
}

// optional is a field of a merge patch (RFC 7396), which keeps what it doesn't
// name. Where null is allowed, to take a value away, T is a pointer.
type optional[T any] struct {
	Present bool
	Value   T
}

func (o *optional[T]) found() any {
	o.Present = true
	return &o.Value
}

// textValue is a value that is spelled as a string.
type textValue interface {
	// parse reads it, or returns the code and the message of a fault.
	parse(text string) (code, message string)
}

// timestamp is an instant, in RFC 3339.
type timestamp time.Time

func (t *timestamp) parse(text string) (code, message string) {
	instant, ok := parseTime(text)
	if !ok {
		return "time", timeMessage
	}
	*t = timestamp(instant)
	return "", ""
}

// timeOf returns the instant that t points to, and nil for nil.
func timeOf(t *timestamp) *time.Time { return (*time.Time)(t) }

// network is a network of IP addresses, or one address.
type network netip.Prefix

func (n *network) parse(text string) (code, message string) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" && !addr.Is4In6() {
		*n = network(netip.PrefixFrom(addr, addr.BitLen()))
		return "", ""
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return "cidr", "must be a network such as 203.0.113.0/24 or 2001:db8::/32, or one address"
	case prefix != prefix.Masked():
		return "cidr", "has address bits behind its mask: did you mean " + prefix.Masked().String() + "?"
	}
	*n = network(prefix)
	return "", ""
}

// grouped is a body whose policies may be bound to groups.
type grouped interface {
	policyGroups() []string
}

var (
	policyType   = reflect.TypeFor[ratelimit.Policy]()
	policiesType = reflect.TypeFor[[]ratelimit.Policy]()
)

// special decodes what is spelled as a string, and policies; it reports
// whether into is one of these.
func (d *decoder) special(text jsontext.Value, into reflect.Value, pointer string) bool {
	if value, ok := reflect.TypeAssert[textValue](into.Addr()); ok {
		d.text(text, value, pointer)
		return true
	}
	switch into.Type() {
	case policyType:
		list := slices.Concat([]byte("["), text, []byte("]"))
		if policies := d.policies(list, pointer, func(at string) string { return strings.TrimPrefix(at, "/0") }); len(policies) == 1 {
			into.Set(reflect.ValueOf(policies[0]))
		}
	case policiesType:
		policies := d.policies(text, pointer, func(at string) string { return at })
		into.Set(reflect.ValueOf(policies))
	default:
		return false
	}
	return true
}

func (d *decoder) text(text jsontext.Value, value textValue, pointer string) {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		d.fault(pointer, "type", "must be a string")
		return
	}
	if code, message := value.parse(s); code != "" {
		d.fault(pointer, code, message)
	}
}

// policies reads a list of policies with every fault of each. place turns a
// pointer within the list into one within the value at pointer.
func (d *decoder) policies(list []byte, pointer string, place func(string) string) []ratelimit.Policy {
	policies, err := ratelimit.ParsePolicies(list, ratelimit.WithGroups(d.groups...))
	if invalid, ok := errors.AsType[*ratelimit.InvalidError](err); ok {
		d.faulty[pointer] = true
		for _, f := range invalid.Faults {
			d.fault(pointer+place(f.Pointer), f.Code, f.Message)
		}
	}
	return policies
}

// table reads an object whose names are the sender's.
func (d *decoder) table(text jsontext.Value, into reflect.Value, pointer string) {
	if text.Kind() != '{' {
		d.fault(pointer, "type", "must be an object")
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	read := reader(text)
	for read.PeekKind() != '}' {
		name, member := readMember(read)
		at := pointer + "/" + escapePointer(name)
		if strings.ContainsRune(name, 0) {
			d.fault(at, "nul", "must not contain the character NUL")
			continue
		}
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(member, value, at)
		into.SetMapIndex(reflect.ValueOf(name), value)
	}
}
