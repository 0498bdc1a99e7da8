package ratelimit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// ParsePolicies decodes and validates a JSON list of policies. Unknown and
// repeated fields, wrong types, null and all faults that [Validate] finds are
// reported together as one *InvalidError.
func ParsePolicies(data []byte, opts ...ValidateOption) ([]Policy, error) {
	var v validator
	var items []json.RawMessage
	trimmed := bytes.TrimSpace(data)
	if err := json.Unmarshal(trimmed, &items); err != nil || len(trimmed) == 0 || trimmed[0] != '[' {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) || len(trimmed) == 0 {
			v.add("", FaultSyntax, "must be JSON")
		} else {
			v.add("", FaultType, "must be a list of policies")
		}
		return nil, v.err()
	}
	policies := make([]Policy, len(items))
	for i, item := range items {
		v.at = "/" + strconv.Itoa(i)
		v.parse(item, &policies[i])
	}
	v.validate(policies, opts)
	if err := v.err(); err != nil {
		return nil, err
	}
	return policies, nil
}

// policyFields maps each field of a policy to its decoder. Names are matched
// exactly, whereas encoding/json ignores case.
var policyFields = map[string]func(v *validator, name string, raw json.RawMessage, p *Policy){
	"name":       func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Name) },
	"algorithm":  func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Algorithm) },
	"limit":      func(v *validator, n string, raw json.RawMessage, p *Policy) { p.Limit = v.parseInt(n, raw) },
	"period":     func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Period) },
	"burst":      func(v *validator, n string, raw json.RawMessage, p *Policy) { p.Burst = v.parseInt(n, raw) },
	"max_wait":   func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.MaxWait) },
	"hold":       func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Hold) },
	"time_zone":  func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.TimeZone) },
	"anchor_day": func(v *validator, n string, raw json.RawMessage, p *Policy) { p.AnchorDay = int(v.parseInt(n, raw)) },
	"group":      func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Group) },
	"per":        func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Per) },
	"charge":     func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Charge) },
	"mode":       func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Mode) },
	"sharing":    func(v *validator, n string, raw json.RawMessage, p *Policy) { parseString(v, n, raw, &p.Sharing) },
}

// parse decodes one policy from well-formed JSON.
func (v *validator) parse(raw json.RawMessage, p *Policy) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, _ := dec.Token(); t != json.Delim('{') {
		v.add(v.at, FaultType, "must be an object")
		for name := range policyFields {
			v.suppress(name)
		}
		return
	}
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			break
		}
		name := t.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); errors.Is(err, io.EOF) {
			break
		}
		read, known := policyFields[name]
		switch {
		case !known:
			v.fault(escapePointer(name), FaultUnknown, "is not a known field")
		case seen[name]:
			v.fault(name, FaultDuplicate, "is repeated")
		default:
			read(v, name, value, p)
		}
		seen[name] = true
	}
	if !seen["limit"] {
		v.fault("limit", FaultRequired, "is required")
	}
}

// suppress drops later faults of the field, which are consequences of an earlier
// one.
func (v *validator) suppress(field string) {
	if v.seen == nil {
		v.seen = make(map[string]bool)
	}
	v.seen[v.at+"/"+field] = true
}

func escapePointer(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}

func parseString[T ~string](v *validator, field string, raw json.RawMessage, into *T) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		v.fault(field, FaultType, "must be a string")
		return
	}
	if *s == "" {
		v.fault(field, FaultRequired, "must not be empty")
	}
	*into = T(*s)
}

// parseInt decodes an integer. A field that is present must be at least 1: the
// zero value of a Policy's field means that it is absent.
func (v *validator) parseInt(field string, raw json.RawMessage) int64 {
	digits, zeros, negative, ok := decimal(string(raw))
	n, err := int64(0), error(nil)
	switch {
	case !ok || zeros < 0:
		v.fault(field, FaultType, "must be an integer")
		return 0
	case len(digits)+zeros > maxDigits:
		err = strconv.ErrRange
	case digits != "":
		n, err = strconv.ParseInt(digits+strings.Repeat("0", zeros), 10, 64)
	}
	switch {
	case negative || digits == "":
		v.fault(field, FaultMin, "must be at least 1")
	case err != nil:
		v.fault(field, FaultMax, "is too large")
	default:
		return n
	}
	return 0
}

// maxDigits is the number of decimal digits of math.MaxInt64.
const maxDigits = 19

// decimal splits a number in any JSON notation, such as 100, 1e2 or 100.0,
// exactly: its absolute value is digits × 10^zeros. digits has no zeros at its
// ends, so the number is an integer if zeros isn't negative; for 0 it is "". ok
// is false for JSON of another type.
func decimal(number string) (digits string, zeros int, negative, ok bool) {
	number, negative = strings.CutPrefix(number, "-")
	if number == "" || number[0] < '0' || number[0] > '9' {
		return "", 0, false, false
	}
	mantissa, exponent := number, ""
	if e := strings.IndexAny(number, "eE"); e >= 0 {
		mantissa, exponent = number[:e], number[e+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "", 0, negative, true
	}
	if exponent != "" {
		// Out of range, Atoi returns the nearest int, which no fraction offsets.
		zeros, _ = strconv.Atoi(exponent)
		zeros = max(-maxExponent, min(zeros, maxExponent))
	}
	significant := strings.TrimRight(digits, "0")
	zeros += len(digits) - len(significant) - len(fraction)
	return significant, zeros, negative, true
}

// maxExponent exceeds the length of any text that is parsed.
const maxExponent = 1 << 30
