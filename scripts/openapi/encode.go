package main

import (
	"context"
	"encoding/json"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"
)

// encode returns the description as JSON, and checks it as its readers get it,
// examples included.
func encode(doc *openapi3.T) ([]byte, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	if err := (*jsontext.Value)(&text).Format(jsontext.WithIndent("  "), jsontext.EscapeForHTML(false)); err != nil {
		return nil, err
	}
	read, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), read.Validate(context.Background(), openapi3.EnableExamplesValidation())
}

// object is a JSON object whose members stay in order. openapi3 sorts those of
// maps.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON encodes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	text := []byte{'{'}
	for i, m := range o {
		member, err := json.Marshal(map[string]any{m.name: m.value})
		if err != nil {
			return nil, err
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, member[1:len(member)-1]...) // without braces
	}
	return append(text, '}'), nil
}
