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
	n, err := strconv.ParseInt(string(raw), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && n > 0:
		v.fault(field, FaultMax, "is too large")
	case errors.Is(err, strconv.ErrRange) || err == nil && n < 1:
		v.fault(field, FaultMin, "must be at least 1")
	case err != nil:
		v.fault(field, FaultType, "must be an integer")
	}
	return n
}
