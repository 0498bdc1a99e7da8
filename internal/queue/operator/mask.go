package operator

import (
	"bytes"
	"encoding/json"
	"regexp"

	"ratelimiter/internal/queue"
)

// masked replaces what isn't shown.
const masked = "***"

// private matches the names of members whose values are never shown.
var private = regexp.MustCompile(`(?i)e-?mail|token|secret|password|card|iban|api_?key|authorization`)

// mask returns a payload with email addresses, payment tokens and credentials
// replaced. Other values, such as an order's id, stay as they are. A payload that
// is no object becomes the member "value" of one.
func mask(payload json.RawMessage) json.RawMessage {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber() // numbers keep all of their digits
	var v any
	_ = decoder.Decode(&v) // nil without a payload: otherwise Postgres stores valid JSON only
	if _, object := v.(map[string]any); !object {
		v = map[string]any{"value": v}
	}
	text, _ := json.Marshal(maskValue(v)) // what was decoded can be encoded
	return text
}

func maskValue(v any) any {
	switch v := v.(type) {
	case string:
		return queue.Redact(v)
	case []any:
		for i := range v {
			v[i] = maskValue(v[i])
		}
	case map[string]any:
		shown := make(map[string]any, len(v))
		for name, value := range v {
			if private.MatchString(name) && value != nil {
				shown[queue.Redact(name)] = masked
			} else {
				shown[queue.Redact(name)] = maskValue(value)
			}
		}
		return shown
	}
	return v
}
