package binding

import (
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ratelimiter/models"
)

// Text is a value written as a string, in a parameter or in a body.
type Text interface {
	// ParseText parses it, or returns the code and the message of a fault.
	ParseText(text string) (code, message string)
}

// parseText parses a parameter or a default and reports whether it is valid.
func parseText(text string, into reflect.Value, fault func(code, message string)) bool {
	if into.Kind() == reflect.Pointer { // stays nil unless it is valid
		value := reflect.New(into.Type().Elem())
		right := parseText(text, value.Elem(), fault)
		if right {
			into.Set(value)
		}
		return right
	}
	if value, ok := reflect.TypeAssert[Text](into.Addr()); ok {
		code, message := value.ParseText(text)
		if code != "" {
			fault(code, message)
		}
		return code == ""
	}
	switch into.Kind() {
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			fault("type", "must be "+typeName(into.Kind()))
			return false
		}
		into.SetInt(n)
	case reflect.Bool: // only as a default
		into.SetBool(text == "true")
	case reflect.String:
		if code, message := textFault(text); code != "" {
			fault(code, message)
			return false
		}
		into.SetString(text)
	default:
		panic("binding: a parameter can't be a " + into.Type().String())
	}
	return true
}

// textFault returns the fault of a text that can't be stored.
func textFault(text string) (code, message string) {
	switch {
	case !utf8.ValidString(text):
		return "utf8", "must be valid UTF-8"
	case strings.ContainsRune(text, 0):
		return "nul", "must not contain the character NUL"
	default:
		return "", ""
	}
}

// bodyTextFault returns the fault of a text in a body, which unlike a parameter
// is stored, and shown to others.
func bodyTextFault(text string) (code, message string) {
	if code, message = textFault(text); code == "" && strings.ContainsFunc(text, models.IsControl) {
		return "control", "must not contain control characters, line breaks and tabs included, or invisible ones"
	}
	return code, message
}

// Time is an instant, in RFC 3339.
type Time time.Time

// Times outside these years are mistakes, and some can't be formatted as RFC
// 3339.
var (
	firstTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// rfc3339 is a date-time (section 5.6). time.Parse accepts more.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// ParseText parses an instant in UTC, truncated to Postgres's microseconds, so
// that the stored value equals the returned one.
func (t *Time) ParseText(text string) (code, message string) {
	instant, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err != nil || !rfc3339.MatchString(text):
		return "time", "must be a time such as 2026-01-15T09:30:00Z (RFC 3339)"
	case instant.Before(firstTime) || !instant.Before(lastTime):
		return "time", "must be a time from the year 2000 to 2999"
	}
	*t = Time(instant.UTC().Truncate(time.Microsecond))
	return "", ""
}

// Std returns t as a *time.Time.
func (t *Time) Std() *time.Time { return (*time.Time)(t) }

// Network is a network of IP addresses, or one address.
type Network netip.Prefix

// ParseText parses a network or an address. Bits after the prefix are rejected:
// another network may be meant.
func (n *Network) ParseText(text string) (code, message string) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" && !addr.Is4In6() {
		*n = Network(netip.PrefixFrom(addr, addr.BitLen()))
		return "", ""
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return "cidr", "must be a network such as 203.0.113.0/24 or 2001:db8::/32, or one address"
	case prefix != prefix.Masked():
		return "cidr", "has address bits after its prefix: did you mean " + prefix.Masked().String() + "?"
	}
	*n = Network(prefix)
	return "", ""
}
