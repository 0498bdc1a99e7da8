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

// inputs adds the parameters and the body: those that a field of the input holds,
// and parameters that only the annotations name, such as If-None-Match.
func (o *operation) inputs() {
	if o.types.Input != nil {
		o.inputsOf(reflect.TypeOf(o.types.Input))
	}
	for _, p := range o.annotated.Parameters {
		if p.In != "body" && o.op.Parameters.GetByInAndName(p.In, p.Name) == nil {
			o.parameter(p, reflect.StructField{Type: reflect.TypeFor[string]()})
		}
	}
}

// inputsOf adds the fields that internal/binding fills.
func (o *operation) inputsOf(t reflect.Type) {
	for field := range t.Fields() {
		if field.IsExported() && field.Tag == "" && field.Type.Kind() == reflect.Struct {
			o.inputsOf(field.Type)
		}
		for tag, in := range map[string]string{"uri": "path", "form": "query", "header": "header"} {
			if name, ok := field.Tag.Lookup(tag); ok {
				o.parameter(o.annotation(in, name), field)
			}
		}
		if _, ok := field.Tag.Lookup("body"); ok {
			o.requestBody(o.annotation("body", ""), field)
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
	inPath := annotated.In == openapi3.ParameterInPath
	param := &openapi3.Parameter{
		Name: annotated.Name, In: annotated.In, Description: strings.Join(strings.Fields(annotated.Description), " "),
		Required: inPath || isRequired(field), Schema: schema.NewRef(),
	}
	// The docs pages fill in the example of a parameter, and only show that of a
	// schema: a filter must not be filled in.
	if example, ok := annotated.Extensions["example"]; ok && inPath {
		param.Example = example
	} else if ok {
		schema.Examples = []any{example}
	}
	o.op.AddParameter(param)
}

// requestBody adds the body of an input.
func (o *operation) requestBody(annotated *openapi2.Parameter, field reflect.StructField) {
	media := o.jsonBody(annotated.Schema, field.Type, true)
	content := openapi3.Content{binding.JSON: media}
	if o.route.Method == http.MethodPatch {
		content["application/merge-patch+json"] = media
	}
	body := openapi3.NewRequestBody().WithDescription(annotated.Description).WithContent(content)
	body.Required = field.Tag.Get("body") == "required"
	o.op.RequestBody = &openapi3.RequestBodyRef{Value: body}
}

// typeArgument is the argument of a generic type as reflect writes it.
var typeArgument = regexp.MustCompile(`\[(?:.*/)?(\w+)\.(\w+)\]`)

// jsonBody returns the content of a body. The annotation must name its type.
func (o *operation) jsonBody(annotated *openapi2.SchemaRef, t reflect.Type, request bool) *openapi3.MediaType {
	if want := "#/definitions/" + typeArgument.ReplaceAllString(t.String(), "-${1}_$2"); annotated.Ref != want {
		o.fault("the annotations have the type %s, handlers.Operations has %s", annotated.Ref, want)
	}
	schema := o.schemaOf(t, request)
	example, _ := exampleOf(schema.Value)
	return &openapi3.MediaType{Schema: schema, Example: example}
}
