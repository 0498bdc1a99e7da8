package middleware

import (
	"encoding/json"
	"strconv"
)

// appendTo appends the problem as json.Marshal encodes it.
func (p *Problem) appendTo(b []byte) []byte {
	if encoded, ok := p.appendMembers(b); ok {
		return append(encoded, '}')
	}
	return appendMarshaled(b, *p)
}

// appendTo appends the problem as json.Marshal encodes it.
func (p *QuotaProblem) appendTo(b []byte) []byte {
	if encoded, ok := p.appendMembers(b); ok {
		return append(encoded, '}')
	}
	return appendMarshaled(b, *p)
}

// appendMarshaled appends a problem of any kind and with any text.
func appendMarshaled(b []byte, body any) []byte {
	data, err := json.Marshal(body)
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	return append(b, data...)
}

// appendMembers appends the opening brace and the members. It returns false if a
// text isn't plain, or if there are faults of the input.
func (p *Problem) appendMembers(b []byte) ([]byte, bool) {
	ok := len(p.Errors) == 0
	b, ok = appendMember(b, `{"type":`, p.Type, ok)
	b, ok = appendMember(b, `,"title":`, p.Title, ok)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	b, ok = appendMember(b, `,"code":`, string(p.Code), ok)
	b, ok = appendMember(b, `,"detail":`, p.Detail, ok)
	b, ok = appendMember(b, `,"instance":`, p.Instance, ok)
	return appendMember(b, `,"request_id":`, p.RequestID, ok)
}

// appendMembers is Problem's with the members of a 429.
func (p *QuotaProblem) appendMembers(b []byte) ([]byte, bool) {
	b, ok := p.Problem.appendMembers(b)
	ok = ok && p.ViolatedPolicies != nil // otherwise null
	b = append(b, `,"cost":`...)
	b = strconv.AppendInt(b, p.Cost, 10)
	b = append(b, `,"violated-policies":[`...)
	for i, name := range p.ViolatedPolicies {
		separator := ","
		if i == 0 {
			separator = ""
		}
		b, ok = appendMember(b, separator, name, ok)
	}
	b = append(b, `],"retry_after":`...)
	if p.RetryAfter == nil {
		return append(b, "null"...), ok
	}
	b, plain := appendFloat(b, *p.RetryAfter)
	return b, ok && plain
}

// appendMember appends what precedes a text and the text. It returns ok, or false if
// the text isn't plain.
func appendMember(b []byte, before, text string, ok bool) ([]byte, bool) {
	b, plain := appendPlain(append(b, before...), text)
	return b, ok && plain
}
