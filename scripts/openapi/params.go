package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-openapi/spec"
)

// exampleKey carries a parameter's example through Swagger 2.0, which has no place for it.
const exampleKey = "x-example"

// replaceStructParams takes out what swag makes of structs that carry parameters, and puts in what their tags say. A
// struct may hold parameters of all three kinds and a body's fields: form:"limit" is a query parameter,
// header:"If-Match" a header, uri:"id" a part of the path. One @Param line with in = query, header or path stands for all
// of them. The tags beside them are the ones that the handlers enforce.
func replaceStructParams(doc *spec.Swagger, types *goTypes) error {
	for _, operation := range types.operations {
		structs, direct := types.structParams(operation)
		if len(structs) == 0 {
			continue
		}
		var params []spec.Parameter
		for _, name := range structs {
			for _, field := range types.fieldsOf(name) {
				param, ok, err := types.parameter(field)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if ok {
					params = append(params, param)
				}
			}
		}
		for _, route := range operation.routes {
			method, path, _ := strings.Cut(route, " ")
			op := operationAt(doc, method, path)
			if op == nil {
				return fmt.Errorf("swag has not described %s", route)
			}
			op.Parameters = append(keepDirect(op.Parameters, direct), params...)
			slices.SortStableFunc(op.Parameters, func(a, b spec.Parameter) int { return placeRank(a.In) - placeRank(b.In) })
		}
	}
	return nil
}

// placeRank puts a path's parameters first and the body last.
func placeRank(in string) int { return slices.Index([]string{"path", "query", "header", "body"}, in) }

// keepDirect returns the body and those parameters that annotations name themselves.
func keepDirect(params []spec.Parameter, direct []annotatedParam) []spec.Parameter {
	var kept []spec.Parameter
	for _, param := range params {
		named := slices.ContainsFunc(direct, func(d annotatedParam) bool { return d.name == param.Name && d.in == param.In })
		if param.In == "body" || named {
			kept = append(kept, param)
		}
	}
	return kept
}

func operationAt(doc *spec.Swagger, method, path string) *spec.Operation {
	if doc.Paths == nil {
		return nil
	}
	item := doc.Paths.Paths[path]
	return map[string]*spec.Operation{
		"get": item.Get, "post": item.Post, "put": item.Put, "patch": item.Patch, "delete": item.Delete,
		"head": item.Head, "options": item.Options,
	}[method]
}

// parameter describes the parameter that a field is; ok is false when it is none.
func (t *goTypes) parameter(field fieldInfo) (param spec.Parameter, ok bool, err error) {
	name, in := field.parameter()
	if in == "" {
		return param, false, nil
	}
	k, known := t.kindOf(field)
	if !known || k.items != nil && k.items.items != nil {
		return param, false, fmt.Errorf(`parameter %s: say what its type is in JSON by swaggertype:"string"`, name)
	}
	param.Name, param.In = name, in
	if param.Description, err = readable(field.doc); err != nil {
		return param, false, fmt.Errorf("parameter %s: %w", name, err)
	}
	param.Required = in == "path" || field.required()
	param.Type, param.Format = k.name, k.format
	value := &k
	constraints := &param.CommonValidations
	if k.items != nil {
		items := spec.NewItems()
		items.Type, items.Format = k.items.name, k.items.format
		param.Items, param.CollectionFormat = items, "multi"
		value, constraints = k.items, &items.CommonValidations
		if param.MinItems, err = intTag(field.tag, "minItems"); err != nil {
			return param, false, err
		}
		if param.MaxItems, err = intTag(field.tag, "maxItems"); err != nil {
			return param, false, err
		}
	}
	if err := t.constrain(constraints, field, value); err != nil {
		return param, false, fmt.Errorf("parameter %s: %w", name, err)
	}
	return param, true, t.addValues(&param, field, &k, value)
}

// addValues sets what tags say by example: format, default and example.
func (t *goTypes) addValues(param *spec.Parameter, field fieldInfo, k, value *kind) error {
	if format := field.tag.Get("format"); format != "" {
		if param.Items != nil {
			param.Items.Format = format
		} else {
			param.Format = format
		}
	}
	if text, ok := field.tag.Lookup("default"); ok {
		parsed, err := valueOf(text, k, value)
		if err != nil {
			return fmt.Errorf("parameter %s: default: %w", param.Name, err)
		}
		param.Default = parsed
	}
	if text, ok := field.tag.Lookup("example"); ok {
		parsed, err := valueOf(text, k, value)
		if err != nil {
			return fmt.Errorf("parameter %s: example: %w", param.Name, err)
		}
		param.AddExtension(exampleKey, parsed)
	}
	return nil
}

// constrain sets what a value's tags demand.
func (t *goTypes) constrain(rules *spec.CommonValidations, field fieldInfo, value *kind) (err error) {
	for _, set := range []struct {
		into **int64
		tag  string
	}{{&rules.MinLength, "minLength"}, {&rules.MaxLength, "maxLength"}} {
		if *set.into, err = intTag(field.tag, set.tag); err != nil {
			return err
		}
	}
	for _, set := range []struct {
		into **float64
		tag  string
	}{{&rules.Minimum, "minimum"}, {&rules.Maximum, "maximum"}} {
		if *set.into, err = floatTag(field.tag, set.tag); err != nil {
			return err
		}
	}
	rules.Pattern = field.tag.Get("pattern")
	if list := field.tag.Get("enums"); list != "" {
		for text := range strings.SplitSeq(list, ",") {
			parsed, err := valueOf(text, value, value)
			if err != nil {
				return fmt.Errorf("enums: %w", err)
			}
			rules.Enum = append(rules.Enum, parsed)
		}
	} else {
		rules.Enum = slices.Clone(t.enums[value.named])
	}
	return nil
}

func intTag(tag interface{ Get(string) string }, name string) (*int64, error) {
	text := tag.Get(name)
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &n, nil
}

func floatTag(tag interface{ Get(string) string }, name string) (*float64, error) {
	text := tag.Get(name)
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &n, nil
}

// valueOf reads a tag's text as a value of kind k; of a list, commas stand between the items.
func valueOf(text string, k, item *kind) (any, error) {
	if k.items != nil {
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			value, err := valueOf(part, item, item)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	}
	if k.name == "string" {
		return text, nil
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return nil, fmt.Errorf("%q is no %s", text, k.name)
	}
	return value, nil
}
