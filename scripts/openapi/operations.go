package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi3"

	"ratelimiter/handlers"
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
	doc.Components.Schemas, doc.Components.Headers, doc.Components.Responses = d.components, openapi3.Headers{}, openapi3.ResponseBodies{}
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
// a key needs (empty: any key), the group of the policies that apply, beside those
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
	scope := "any key"
	switch {
	case o.route.Public:
		return "**Open** to everybody, and costs nothing."
	case o.route.Scope != "":
		scope = fmt.Sprintf("`%s`", o.route.Scope)
	case o.route.Cost == 0:
		return "**Scope:** any key · **Cost:** 0, within 50 requests a second"
	}
	return fmt.Sprintf("**Scope:** %s · **Cost:** %d", scope, o.route.Cost)
}

// fault reports something that is wrong with an operation.
func (o *operation) fault(format string, args ...any) {
	o.describer.fault(o.annotated.OperationID+": "+format, args...)
}
