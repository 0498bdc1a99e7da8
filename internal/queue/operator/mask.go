package operator

import (
	"bytes"
	"encoding/json"
	"regexp"

	"ratelimiter/internal/queue"
)

// masked replaces what isn't shown.
const masked = "***"

// private are the names of members whose values aren't shown, whatever they look
// like.
var private = regexp.MustCompile(`(?i)e-?mail|token|secret|password|card|iban|api_?key|authorization`)

// mask returns a payload with email addresses, payment tokens and credentials
// replaced. Other values, such as an order's id, stay as they are.
func mask(payload json.RawMessage) json.RawMessage {
	if len(payload) == 0 {
		return json.RawMessage("null")
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber() // numbers keep all of their digits
	var v any
	err := decoder.Decode(&v)
	var text []byte
	if err == nil {
		text, err = json.Marshal(maskValue(v))
	}
	if err != nil {
		return json.RawMessage(`"` + masked + `"`) // Postgres stores valid JSON only
	}
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
		for name, value := range v {
			if private.MatchString(name) && value != nil {
				v[name] = masked
			} else {
				v[name] = maskValue(value)
			}
		}
	}
	return v
}
