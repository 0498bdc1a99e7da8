package main

import (
	"encoding"
	"fmt"
	"iter"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"ratelimiter/internal/binding"
	"ratelimiter/ratelimit"
)

const schemaPrefix = "#/components/schemas/"

// schemas builds the schemas of Go types: of responses as encoding/json writes
// them, of requests as internal/binding reads them. Structs and string types
// with constants become components.
type schemas struct {
	sources    sources
	components openapi3.Schemas
	types      map[string]reflect.Type       // of the components
	requests   map[reflect.Type]bool         // whether a struct was last used in a request
	properties map[*openapi3.Schema][]string // in declaration order
	faults     []error
}

func newSchemas() schemas {
	return schemas{
		sources: sources{}, components: openapi3.Schemas{}, types: map[string]reflect.Type{}, requests: map[reflect.Type]bool{},
		properties: map[*openapi3.Schema][]string{},
	}
}

// fault reports something that is wrong.
func (s *schemas) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Errorf(format, args...))
}

// schemaOf returns the schema of a type in a request or in a response.
func (s *schemas) schemaOf(t reflect.Type, request bool) *openapi3.SchemaRef {
	switch {
	case t.Kind() == reflect.Pointer:
		return orNull(s.schemaOf(t.Elem(), request))
	case isOptional(t):
		value, _ := t.FieldByName("Value")
		return s.schemaOf(value.Type, request)
	case t == reflect.TypeFor[time.Time]():
		return openapi3.NewSchemaRef("", openapi3.NewDateTimeSchema())
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8: // json.RawMessage
		return openapi3.NewSchemaRef("", openapi3.NewObjectSchema())
	case isText(t):
		return openapi3.NewSchemaRef("", openapi3.NewStringSchema())
	case t.ConvertibleTo(reflect.TypeFor[ratelimit.Policy]()): // handlers decodes policies through a type of its own
		t = reflect.TypeFor[ratelimit.Policy]()
	}
	schema := &openapi3.Schema{}
	switch t.Kind() {
	case reflect.Bool:
		schema = openapi3.NewBoolSchema()
	case reflect.Int, reflect.Int64:
		schema = openapi3.NewInt64Schema()
	case reflect.Float64:
		schema = openapi3.NewFloat64Schema().WithFormat("double")
	case reflect.String:
		return s.stringSchema(t)
	case reflect.Slice:
		schema.Type, schema.Items = &openapi3.Types{openapi3.TypeArray}, s.schemaOf(t.Elem(), request)
	case reflect.Map:
		schema.Type = &openapi3.Types{openapi3.TypeObject}
		schema.AdditionalProperties.Schema = s.schemaOf(t.Elem(), request)
	case reflect.Struct:
		if last, used := s.requests[t]; used && last != request && !slices.Equal(required(t, true), required(t, false)) {
			s.fault("%s is used in requests and in responses, which require different properties", t)
		}
		s.requests[t] = request
		return s.component(t, func(schema *openapi3.Schema) { s.object(schema, t, request) })
	default:
		s.fault("%s has no schema", t)
	}
	return openapi3.NewSchemaRef("", schema)
}

// isOptional reports whether t is a binding.Optional.
func isOptional(t reflect.Type) bool {
	return t.PkgPath() == reflect.TypeFor[binding.Optional[int]]().PkgPath() && strings.HasPrefix(t.Name(), "Optional[")
}

// isText reports whether values of t are written as strings.
func isText(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[binding.Text]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// orNull returns the schema with null allowed.
func orNull(ref *openapi3.SchemaRef) *openapi3.SchemaRef {
	if ref.Ref == "" {
		ref.Value.Type.With(openapi3.TypeNull)
		return ref
	}
	null := openapi3.NewSchemaRef("", &openapi3.Schema{Type: &openapi3.Types{openapi3.TypeNull}})
	return openapi3.NewSchemaRef("", &openapi3.Schema{AnyOf: openapi3.SchemaRefs{ref, null}})
}

// stringSchema returns the schema of a string type. Its constants are the values
// that it can have.
func (s *schemas) stringSchema(t reflect.Type) *openapi3.SchemaRef {
	if values := s.source(t).constants[t.Name()]; len(values) > 0 {
		return s.component(t, func(schema *openapi3.Schema) {
			schema.Type, schema.Enum = &openapi3.Types{openapi3.TypeString}, values
		})
	}
	return openapi3.NewSchemaRef("", openapi3.NewStringSchema())
}

func (s *schemas) source(t reflect.Type) source {
	src, err := s.sources.of(t)
	if err != nil {
		s.fault("%w", err)
	}
	return src
}

// component returns a reference to the component of a type, which build fills in
// at the first use.
func (s *schemas) component(t reflect.Type, build func(*openapi3.Schema)) *openapi3.SchemaRef {
	name := componentName(t)
	ref := s.components[name]
	if ref == nil {
		typeName, _, _ := strings.Cut(t.Name(), "[")
		ref = openapi3.NewSchemaRef("", &openapi3.Schema{Description: s.source(t).description(typeName)})
		s.components[name], s.types[name] = ref, t
		build(ref.Value)
	}
	if s.types[name] != t {
		s.fault("%s and %s would both be called %s", s.types[name], t, name)
	}
	return openapi3.NewSchemaRef(schemaPrefix+name, ref.Value)
}

// componentName returns the name of a type without its package, with a type
// argument in front: ProductList for List[models.Product]. Outside the package
// ratelimit, whose string types are settings of a policy, their names need that
// noun: PolicyMode for ratelimit.Mode.
func componentName(t reflect.Type) string {
	name, argument, _ := strings.Cut(strings.TrimSuffix(t.Name(), "]"), "[")
	if t.Kind() == reflect.String && path.Base(t.PkgPath()) == "ratelimit" {
		return "Policy" + name
	}
	return upperFirst(argument[strings.LastIndex(argument, ".")+1:]) + upperFirst(name)
}

// object fills in the schema of a struct.
func (s *schemas) object(schema *openapi3.Schema, t reflect.Type, request bool) {
	schema.Type, schema.Properties, schema.Required = &openapi3.Types{openapi3.TypeObject}, openapi3.Schemas{}, required(t, request)
	for field, name := range members(t) {
		property, err := s.property(t, field, request)
		if err != nil {
			s.fault("%s.%s: %w", t, field.Name, err)
		}
		schema.Properties[name] = property
		s.properties[schema] = append(s.properties[schema], name)
	}
	if !strings.HasSuffix(t.Name(), "Problem") { // which may have other members (RFC 9457, section 3.2)
		schema.AdditionalProperties.Has = new(false)
	}
}

// members iterates over the fields of a struct and their names in JSON.
func members(t reflect.Type) iter.Seq2[reflect.StructField, string] {
	return func(yield func(reflect.StructField, string) bool) {
		for _, field := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" && name != "-" && !yield(field, name) {
				return
			}
		}
	}
}

// required returns the properties that a struct needs: in a request, those with
// validate:"required"; in a response, all that are never omitted.
func required(t reflect.Type, request bool) []string {
	var names []string
	for field, name := range members(t) {
		omitted := strings.Contains(field.Tag.Get("json"), ",omit")
		if request && isRequired(field) || !request && !omitted {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func isRequired(field reflect.StructField) bool {
	return slices.Contains(strings.Split(field.Tag.Get("validate"), ","), "required")
}

// property returns the schema of a field of t, with its comment and its tags.
func (s *schemas) property(t reflect.Type, field reflect.StructField, request bool) (*openapi3.SchemaRef, error) {
	typ := field.Type
	if typ.Kind() == reflect.String && field.Tag.Get("swaggertype") == "string" {
		typ = reflect.TypeFor[string]() // not only the constants of the type are valid
	}
	property := s.schemaOf(typ, request)
	if property.Ref != "" { // which has no place for a description
		property = openapi3.NewSchemaRef("", &openapi3.Schema{AllOf: openapi3.SchemaRefs{property}})
	}
	if field.Tag.Get("extensions") == "x-nullable" {
		property = orNull(property)
	}
	owner := t
	if embedded := field.Index[:len(field.Index)-1]; len(embedded) > 0 {
		owner = t.FieldByIndex(embedded).Type
	}
	typeName, _, _ := strings.Cut(owner.Name(), "[")
	property.Value.Description = s.source(owner).description(typeName + "." + field.Name)
	return property, applyTags(property.Value, field.Tag)
}
