package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi3"

	"ratelimiter/handlers"
	"ratelimiter/internal/server"
)

// describer builds the description and collects everything that is wrong with
// its sources.
type describer struct {
	*schemas
	shared *openapi3.Components // of shared.json
	doc    *openapi3.T
}

// describe returns the OpenAPI description for what swag made of the
// annotations.
func describe(swagger []byte) (*openapi3.T, error) {
	var annotated openapi2.T
	if err := json.Unmarshal(swagger, &annotated); err != nil {
		return nil, err
	}
	annotated.Info.Contact = nil // swag writes an empty one
	shared, err := loadShared()
	if err != nil {
		return nil, err
	}
	d := &describer{schemas: newSchemas(), shared: shared}
	d.doc = &openapi3.T{
		OpenAPI: "3.1.0", Info: &annotated.Info, Servers: openapi3.Servers{{URL: "/"}}, Tags: annotated.Tags, Paths: openapi3.NewPaths(),
		Components: &openapi3.Components{
			Schemas: d.components, Headers: openapi3.Headers{}, Responses: openapi3.ResponseBodies{}, SecuritySchemes: shared.SecuritySchemes,
		},
	}
	d.problemSchemas()
	d.paths(annotated.Paths)
	d.orderProperties()
	return d.doc, errors.Join(d.faults...)
}

// paths adds the annotated operations. All of them must be in the route table
// and in handlers.Operations.
func (d *describer) paths(annotated map[string]*openapi2.PathItem) {
	routes := map[string]server.Route{}
	for _, route := range server.Routes(server.Handlers{}) {
		routes[route.Name()] = route
	}
	types := handlers.Operations()
	for path, annotatedItem := range annotated {
		item := &openapi3.PathItem{}
		for method, annotatedOp := range annotatedItem.Operations() {
			o := operation{describer: d, annotated: annotatedOp, path: path}
			var routed, typed bool
			o.route, routed = routes[method+" "+path]
			o.types, typed = types[annotatedOp.OperationID]
			if !routed || !typed {
				d.fault("%s %s (%s): in the route table: %v; in handlers.Operations: %v", method, path, annotatedOp.OperationID, routed, typed)
			}
			delete(types, annotatedOp.OperationID)
			item.SetOperation(method, o.build())
		}
		d.doc.Paths.Set(path, item)
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

// access is the value of x-ratelimit.
type access struct {
	Scope string `json:"scope"` // a key needs it; empty: any key
	Group string `json:"group"` // policies with this group apply, and those without one
	Cost  int64  `json:"cost"`  // units per call
}

func (o *operation) build() *openapi3.Operation {
	scope := string(o.route.Scope)
	o.op = &openapi3.Operation{
		OperationID: o.annotated.OperationID, Summary: o.annotated.Summary, Tags: o.annotated.Tags,
		Description: strings.TrimSpace(o.annotated.Description + "\n\n" + o.accessLine()),
		Security:    openapi3.NewSecurityRequirements(),
		Responses:   openapi3.NewResponsesWithCapacity(0),
		Extensions:  map[string]any{"x-ratelimit": access{Scope: scope, Group: scope, Cost: o.route.Cost}},
	}
	if !o.route.Public { // one of the two ways to send a key
		o.op.Security.With(openapi3.NewSecurityRequirement().Authenticate("BearerAuth"))
		o.op.Security.With(openapi3.NewSecurityRequirement().Authenticate("ApiKeyAuth"))
	}
	var fields []reflect.StructField
	if o.types.Input != nil {
		fields = inputFields(reflect.TypeOf(o.types.Input))
	}
	o.parameters(fields)
	o.requestBody(fields)
	o.responses()
	return o.op
}

// accessLine is shown below the description of the operation.
func (o *operation) accessLine() string {
	switch {
	case o.route.Public:
		return "**Open** to everybody, and costs nothing."
	case o.route.Scope == "" && o.route.Cost == 0:
		return "**Scope:** any key · **Cost:** 0, within 50 requests a second"
	case o.route.Scope == "":
		return fmt.Sprintf("**Scope:** any key · **Cost:** %d", o.route.Cost)
	default:
		return fmt.Sprintf("**Scope:** `%s` · **Cost:** %d", o.route.Scope, o.route.Cost)
	}
}

// fault reports something that is wrong with an operation.
func (o *operation) fault(format string, args ...any) {
	o.describer.fault(o.annotated.OperationID+": "+format, args...)
}
