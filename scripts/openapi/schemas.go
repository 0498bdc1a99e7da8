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
	source     source
	components openapi3.Schemas
	types      map[string]reflect.Type // of the components
	faults     []error
}

func newSchemas() *schemas {
	s := &schemas{components: openapi3.Schemas{}, types: map[string]reflect.Type{}}
	var err error
	if s.source, err = readSource(); err != nil {
		s.fault("%w", err)
	}
	return s
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
	case strings.HasPrefix(t.String(), "binding.Optional["):
		value, _ := t.FieldByName("Value")
		return s.schemaOf(value.Type, request)
	case t == reflect.TypeFor[time.Time]():
		return openapi3.NewDateTimeSchema().NewRef()
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8: // json.RawMessage
		return openapi3.NewObjectSchema().NewRef()
	case implements[binding.Text](t), implements[encoding.TextUnmarshaler](t):
		return openapi3.NewStringSchema().NewRef()
	case t.ConvertibleTo(reflect.TypeFor[ratelimit.Policy]()): // handlers decodes policies through a type of its own
		return s.component(reflect.TypeFor[ratelimit.Policy](), request)
	}
	switch t.Kind() {
	case reflect.Bool:
		return openapi3.NewBoolSchema().NewRef()
	case reflect.Int, reflect.Int64:
		return openapi3.NewInt64Schema().NewRef()
	case reflect.Float64:
		return openapi3.NewFloat64Schema().WithFormat("double").NewRef()
	case reflect.String:
		if s.source.constants[t.String()] != nil {
			return s.component(t, request)
		}
		return openapi3.NewStringSchema().NewRef()
	case reflect.Slice:
		list := openapi3.NewArraySchema()
		list.Items = s.schemaOf(t.Elem(), request)
		return list.NewRef()
	case reflect.Map:
		object := openapi3.NewObjectSchema()
		object.AdditionalProperties.Schema = s.schemaOf(t.Elem(), request)
		return object.NewRef()
	case reflect.Struct:
		return s.component(t, request)
	default:
		s.fault("%s has no schema", t)
		return openapi3.NewSchema().NewRef()
	}
}

func implements[I any](t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[I]())
}

// orNull returns the schema with null allowed.
func orNull(ref *openapi3.SchemaRef) *openapi3.SchemaRef {
	if ref.Ref == "" {
		ref.Value.Type.With(openapi3.TypeNull)
		return ref
	}
	null := &openapi3.Schema{Type: &openapi3.Types{openapi3.TypeNull}}
	return (&openapi3.Schema{AnyOf: openapi3.SchemaRefs{ref, null.NewRef()}}).NewRef()
}

// component returns a reference to the component of a struct or of a string type
// with constants, which are the values that it can have.
func (s *schemas) component(t reflect.Type, request bool) *openapi3.SchemaRef {
	name := componentName(t)
	if s.components[name] == nil {
		schema := &openapi3.Schema{Description: s.source.description(sourceName(t))}
		s.components[name], s.types[name] = schema.NewRef(), t
		if t.Kind() == reflect.String {
			schema.Type, schema.Enum = &openapi3.Types{openapi3.TypeString}, s.source.values(t.String())
			schema.Description += "\n" + s.meaningsOf(t)
		} else {
			s.object(schema, t, request)
		}
	}
	schema := s.components[name].Value
	if other := s.types[name]; other != t {
		s.fault("%s and %s would both be called %s", other, t, name)
	} else if t.Kind() == reflect.Struct && !slices.Equal(schema.Required, required(t, request)) {
		s.fault("%s is used in requests and in responses, which require different properties", t)
	}
	return openapi3.NewSchemaRef(schemaPrefix+name, schema)
}

// meaningsOf returns the values of a string type with their meanings, all of
// which must be documented.
func (s *schemas) meaningsOf(t reflect.Type) string {
	for _, c := range s.source.constants[t.String()] {
		if c.meaning == "" {
			s.fault("the constant %q of %s has no comment", c.value, t)
		}
	}
	return s.source.meanings(t.String())
}

// sourceName returns the name of a type in the source: package and name.
func sourceName(t reflect.Type) string {
	name, _, _ := strings.Cut(t.String(), "[")
	return name
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
	var properties object
	for name, field := range members(t) {
		properties = append(properties, member{name, s.property(t, field, request)})
	}
	schema.Type, schema.Required = &openapi3.Types{openapi3.TypeObject}, required(t, request)
	setProperties(schema, properties)
	if !strings.HasSuffix(t.Name(), "Problem") { // which may have other members (RFC 9457, section 3.2)
		schema.AdditionalProperties.Has = new(false)
	}
}

// setProperties sets the properties of a schema in the order of their struct,
// which the field Properties doesn't keep.
func setProperties(schema *openapi3.Schema, properties object) {
	schema.Extensions = map[string]any{"properties": properties}
}

func propertiesOf(schema *openapi3.Schema) object {
	properties, _ := schema.Extensions["properties"].(object)
	return properties
}

// members iterates over the fields of a struct by their names in JSON.
func members(t reflect.Type) iter.Seq2[string, reflect.StructField] {
	return func(yield func(string, reflect.StructField) bool) {
		for _, field := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" && name != "-" && !yield(name, field) {
				return
			}
		}
	}
}

// required returns the properties that a struct needs: in a request, those with
// validate:"required"; in a response, all that are never omitted.
func required(t reflect.Type, request bool) []string {
	var names []string
	for name, field := range members(t) {
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
func (s *schemas) property(t reflect.Type, field reflect.StructField, request bool) *openapi3.SchemaRef {
	typ, owner := field.Type, t
	if typ.Kind() == reflect.String && field.Tag.Get("swaggertype") == "string" {
		typ = reflect.TypeFor[string]() // not only the constants of the type are valid
	}
	property := s.schemaOf(typ, request)
	if property.Ref != "" { // which has no place for a description
		property = (&openapi3.Schema{AllOf: openapi3.SchemaRefs{property}}).NewRef()
	}
	if field.Tag.Get("extensions") == "x-nullable" {
		property = orNull(property)
	}
	if embedded := field.Index[:len(field.Index)-1]; len(embedded) > 0 {
		owner = t.FieldByIndex(embedded).Type
	}
	property.Value.Description = s.source.description(sourceName(owner) + "." + field.Name)
	if field.Tag.Get("open") == "true" { // clients must expect other values than those that are known now
		property.Value.Description += ". More values may be added.\n" + s.meaningsOf(field.Type)
		property.Value.Extensions = map[string]any{"x-extensible-enum": s.source.values(field.Type.String())}
	}
	if err := applyTags(property.Value, field.Tag); err != nil {
		s.fault("%s.%s: %w", t, field.Name, err)
	}
	return property
}
