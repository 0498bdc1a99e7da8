package main

import "github.com/getkin/kin-openapi/openapi3"

// inheritDescriptions describes the properties of request bodies that have no comment as what the operation answers
// does: what is written as a key's name is what is shown as a key's name, and is explained once.
func inheritDescriptions(doc *openapi3.T) {
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			answer := answerSchema(op)
			if answer == nil || op.RequestBody == nil || op.RequestBody.Value == nil {
				continue
			}
			for _, media := range op.RequestBody.Value.Content {
				if media.Schema != nil && media.Schema.Value != nil {
					inherit(media.Schema.Value, answer)
				}
			}
		}
	}
}

func inherit(body, answer *openapi3.Schema) {
	for name, property := range body.Properties {
		from := answer.Properties[name]
		if from == nil || from.Value == nil || property.Ref != "" || property.Value == nil || from.Ref != "" {
			continue
		}
		if property.Value.Description == "" {
			property.Value.Description = from.Value.Description
		}
		if property.Value.Items != nil && from.Value.Items != nil && property.Value.Items.Ref == "" && from.Value.Items.Ref == "" {
			inherit(property.Value.Items.Value, from.Value.Items.Value)
		}
	}
}
