package binding

import (
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Text is a value that is spelled as a string, in a parameter or in a body.
type Text interface {
	// ParseText reads it, or returns the code and the message of a fault.
	ParseText(text string) (code, message string)
}

// parseText reads a parameter, or a default, and reports whether it was right.
func parseText(text string, into reflect.Value, fault func(code, message string)) bool {
	if into.Kind() == reflect.Pointer { // left nil unless it is right
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

// textFault says what no text may have.
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

// Time is an instant, in RFC 3339.
type Time time.Time

// Times outside these years are nobody's meaning, and some of them can't be
// written as RFC 3339 again.
var (
	firstTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// rfc3339 is the form of a date-time (section 5.6); time.Parse takes more.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// ParseText reads an instant into UTC, cut to Postgres's microseconds so that
// what is stored is what was answered.
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

// Std returns the instant that t points to, and nil for nil.
func (t *Time) Std() *time.Time { return (*time.Time)(t) }

// Network is a network of IP addresses, or one address.
type Network netip.Prefix

// ParseText reads a network or an address. Bits behind the mask are refused:
// whoever sent them meant another network.
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
		return "cidr", "has address bits behind its mask: did you mean " + prefix.Masked().String() + "?"
	}
	*n = Network(prefix)
	return "", ""
}
