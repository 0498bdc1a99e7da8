package main

import (
	"net/http"
	"reflect"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi3"

	"ratelimiter/internal/binding"
)

// inputFields returns the fields of an input that internal/binding fills.
func inputFields(t reflect.Type) []reflect.StructField {
	var fields []reflect.StructField
	for field := range t.Fields() {
		switch {
		case !field.IsExported():
		case field.Tag == "" && field.Type.Kind() == reflect.Struct:
			fields = append(fields, inputFields(field.Type)...)
		default:
			fields = append(fields, field)
		}
	}
	return fields
}

// parameters adds the parameters of an input, and those that only the
// annotations name, such as If-None-Match.
func (o *operation) parameters(fields []reflect.StructField) {
	for _, place := range []struct{ in, tag string }{{"path", "uri"}, {"query", "form"}, {"header", "header"}} {
		for _, field := range fields {
			if name, ok := field.Tag.Lookup(place.tag); ok {
				o.parameter(o.annotation(place.in, name), field)
			}
		}
		for _, p := range o.annotated.Parameters {
			if p.In == place.in && o.op.Parameters.GetByInAndName(p.In, p.Name) == nil {
				o.parameter(p, reflect.StructField{Type: reflect.TypeFor[string]()})
			}
		}
	}
}

// annotation returns the annotation of an input; of a body by place alone.
func (o *operation) annotation(in, name string) *openapi2.Parameter {
	for _, p := range o.annotated.Parameters {
		if p.In == in && (p.Name == name || name == "") {
			return p
		}
	}
	o.fault("no @Param for %s %s", in, name)
	return &openapi2.Parameter{In: in, Name: name, Schema: &openapi2.SchemaRef{}}
}

// parameter adds a parameter with the text of its annotation and the rules of
// its field.
func (o *operation) parameter(annotated *openapi2.Parameter, field reflect.StructField) {
	schema := openapi3.NewStringSchema()
	if kind := field.Type.Kind(); kind == reflect.Int || kind == reflect.Int64 {
		schema = openapi3.NewInt64Schema()
	}
	if err := applyTags(schema, field.Tag); err != nil {
		o.fault("%s: %w", annotated.Name, err)
	}
	if example, ok := annotated.Extensions["example"]; ok {
		schema.Examples = []any{example}
	}
	param := &openapi3.Parameter{
		Name: annotated.Name, In: annotated.In, Description: strings.Join(strings.Fields(annotated.Description), " "),
		Required: annotated.In == openapi3.ParameterInPath || isRequired(field), Schema: schema.NewRef(),
	}
	// The docs pages fill in the example of a parameter, and only show that of a
	// schema: a filter must not be filled in.
	if param.In == openapi3.ParameterInPath && len(schema.Examples) > 0 {
		param.Example, schema.Examples = schema.Examples[0], nil
	}
	o.op.AddParameter(param)
}

// requestBody adds the body of an input.
func (o *operation) requestBody(fields []reflect.StructField) {
	for _, field := range fields {
		need, ok := field.Tag.Lookup("body")
		if !ok {
			continue
		}
		annotated := o.annotation("body", "")
		media := o.jsonBody(annotated.Schema, field.Type, true)
		content := openapi3.Content{binding.JSON: media}
		if o.route.Method == http.MethodPatch {
			content["application/merge-patch+json"] = media
		}
		body := openapi3.NewRequestBody().WithDescription(annotated.Description).WithRequired(need == "required").WithContent(content)
		o.op.RequestBody = &openapi3.RequestBodyRef{Value: body}
	}
}

// typeArgument is the argument of a generic type as reflect writes it.
var typeArgument = regexp.MustCompile(`\[(?:.*/)?(\w+)\.(\w+)\]`)

// jsonBody returns the content of a body. The annotation must name its type.
func (o *operation) jsonBody(annotated *openapi2.SchemaRef, t reflect.Type, request bool) *openapi3.MediaType {
	if want := "#/definitions/" + typeArgument.ReplaceAllString(t.String(), "-${1}_$2"); annotated.Ref != want {
		o.fault("the annotations have the type %s, handlers.Operations has %s", annotated.Ref, want)
	}
	schema := o.schemaOf(t, request)
	example, _ := o.example(schema.Value)
	return &openapi3.MediaType{Schema: schema, Example: example}
}
