package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi3"

	"ratelimiter/handlers"
	"ratelimiter/internal/binding"
	"ratelimiter/internal/server"
)

// sharedJSON is the description without operations. It has the response headers
// and the ways to send a key.
//
//go:embed shared.json
var sharedJSON []byte

// describer builds the description and collects everything that is wrong with
// its sources.
type describer struct {
	*schemas
	headers openapi3.Headers // that responses can have
	doc     *openapi3.T
}

// describe returns the OpenAPI description for what swag made of the
// annotations.
func describe(swagger []byte) (*openapi3.T, error) {
	var annotated openapi2.T
	if err := json.Unmarshal(swagger, &annotated); err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(sharedJSON)
	if err != nil {
		return nil, fmt.Errorf("shared.json: %w", err)
	}
	d := &describer{schemas: newSchemas(), headers: doc.Components.Headers, doc: doc}
	annotated.Info.Contact = nil // swag writes an empty one
	doc.Info, doc.Tags = &annotated.Info, annotated.Tags
	doc.Components.Schemas, doc.Components.Responses = d.components, openapi3.ResponseBodies{}
	doc.Components.Headers = openapi3.Headers{} // those that are sent unchanged
	d.problemSchemas()
	d.paths(annotated.Paths)
	return doc, errors.Join(d.faults...)
}

// paths adds the annotated operations. All of them must be in the route table
// and in handlers.Operations.
func (d *describer) paths(annotated map[string]*openapi2.PathItem) {
	routes := map[string]server.Route{}
	for _, route := range server.Routes(server.Handlers{}) {
		routes[route.Name()] = route
	}
	types := handlers.Operations()
	for path, item := range annotated {
		for method, annotated := range item.Operations() {
			id := annotated.OperationID
			route, routed := routes[method+" "+path]
			typing, typed := types[id]
			if !routed || !typed {
				d.fault("%s %s (%s): in the route table: %v; in handlers.Operations: %v", method, path, id, routed, typed)
			}
			delete(types, id)
			o := operation{describer: d, annotated: annotated, path: path, route: route, types: typing}
			d.doc.AddOperation(path, method, o.build())
		}
	}
	for id := range types {
		d.fault("handlers.Operations has %s, which no annotation describes", id)
	}
}

// operation builds the description of one operation.
type operation struct {
	*describer
	annotated *openapi2.Operation
	path      string
	route     server.Route
	types     handlers.Operation
	op        *openapi3.Operation
}

// build returns the description of the operation. x-ratelimit has the scope that
// a key needs (empty: any key), the group of the policies that apply, in addition to those
// without one, and the cost of a call.
func (o *operation) build() *openapi3.Operation {
	scope := string(o.route.Scope)
	o.op = &openapi3.Operation{
		OperationID: o.annotated.OperationID, Summary: o.annotated.Summary, Tags: o.annotated.Tags,
		Description: strings.TrimSpace(o.annotated.Description + "\n\n" + o.accessLine()),
		Security:    openapi3.NewSecurityRequirements(),
		Responses:   openapi3.NewResponsesWithCapacity(0),
		Extensions:  map[string]any{"x-ratelimit": object{{"scope", scope}, {"group", scope}, {"cost", o.route.Cost}}},
	}
	if !o.route.Public { // one of the two ways to send a key
		o.op.Security.With(openapi3.NewSecurityRequirement().Authenticate("BearerAuth"))
		o.op.Security.With(openapi3.NewSecurityRequirement().Authenticate("ApiKeyAuth"))
	}
	o.inputs()
	o.responses()
	return o.op
}

// accessLine is shown below the description of the operation.
func (o *operation) accessLine() string {
	if o.route.Public {
		return "**Open** to everybody, and costs nothing."
	}
	scope, rate := "any key", ""
	if o.route.Scope != "" {
		scope = fmt.Sprintf("`%s`", o.route.Scope)
	}
	if n := o.route.BuiltIn().PerSecond; n > 0 {
		rate = fmt.Sprintf(", within %d requests a second", n)
	}
	return fmt.Sprintf("**Scope:** %s · **Cost:** %d%s", scope, o.route.Cost, rate)
}

// fault reports something that is wrong with an operation.
func (o *operation) fault(format string, args ...any) {
	o.describer.fault(o.annotated.OperationID+": "+format, args...)
}

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
	if kind := field.Type.Kind(); !implements[binding.Text](field.Type) && (kind == reflect.Int || kind == reflect.Int64) {
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
