package main

import (
	"context"
	"encoding/json"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3conv"
)

// version is the OpenAPI version that is written: 3.1 is the newest that the docs pages and the common tools read.
const version = "3.1.0"

// buildSpec turns swag's Swagger 2.0 into the finished OpenAPI 3.1 document, validated.
func buildSpec(swagger []byte, types *goTypes, table map[string]rateLimit) ([]byte, error) {
	renamed, oldNames, err := renameDefinitions(swagger)
	if err != nil {
		return nil, err
	}
	doc, err := convert(renamed)
	if err != nil {
		return nil, err
	}
	shared, err := loadShared()
	if err != nil {
		return nil, err
	}
	if err := describeSchemas(doc, types, oldNames); err != nil {
		return nil, err
	}
	inheritDescriptions(doc)
	complete(doc, shared)
	if err := addRateLimits(doc, table); err != nil {
		return nil, err
	}
	addParameterExamples(doc)
	addExamples(doc)

	spec, err := encode(doc, types, oldNames)
	if err != nil {
		return nil, err
	}
	return spec, validate(spec)
}

// convert takes Swagger 2.0 to OpenAPI 3.1 and changes nothing else.
func convert(swagger []byte) (*openapi3.T, error) {
	var old openapi2.T
	if err := json.Unmarshal(swagger, &old); err != nil {
		return nil, err
	}
	doc, err := openapi2conv.ToV3(&old)
	if err != nil {
		return nil, err
	}
	if doc.Paths == nil {
		doc.Paths = openapi3.NewPaths()
	}
	openapi3conv.Upgrade(doc)
	doc.OpenAPI = version
	return doc, nil
}

// validate reads the document as a client would and checks it against the specification, examples included.
func validate(spec []byte) error {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return err
	}
	return doc.Validate(context.Background(), openapi3.EnableExamplesValidation())
}
