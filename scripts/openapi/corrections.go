package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/go-openapi/spec"
	"sigs.k8s.io/yaml"
)

// correct mends what swag gets wrong about structs that carry parameters, in all three of its files alike.
func correct(files map[string][]byte, types *goTypes) error {
	// The library reads the schema {} as false: it is spelled true, which means the same.
	source := bytes.ReplaceAll(files["swagger.json"], []byte(`"additionalProperties": {}`), []byte(`"additionalProperties": true`))
	var doc spec.Swagger
	if err := json.Unmarshal(source, &doc); err != nil {
		return err
	}
	if err := replaceStructParams(&doc, types); err != nil {
		return err
	}
	dropParamProperties(&doc, types)

	var flat bytes.Buffer
	encoder := json.NewEncoder(&flat)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(&doc); err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(flat.Bytes()), "", "    "); err != nil {
		return err
	}
	asYAML, err := yaml.JSONToYAML(flat.Bytes())
	if err != nil {
		return err
	}
	asGo, err := intoTemplate(files["docs.go"], indented.Bytes())
	if err != nil {
		return err
	}
	files["swagger.json"], files["swagger.yaml"], files["docs.go"] = indented.Bytes(), asYAML, asGo
	return nil
}

// dropParamProperties takes the parameters out of the schemas of structs that also hold a body's fields.
func dropParamProperties(doc *spec.Swagger, types *goTypes) {
	for name, schema := range doc.Definitions {
		written, carries := map[string]bool{}, false
		for _, field := range types.fieldsOf(name) {
			_, in := field.parameter()
			written[field.name] = true
			carries = carries || in != "" && field.name == ""
		}
		if !carries {
			continue
		}
		maps.DeleteFunc(schema.Properties, func(property string, _ spec.Schema) bool { return !written[property] })
		schema.Required = slices.DeleteFunc(schema.Required, func(property string) bool { return !written[property] })
		doc.Definitions[name] = schema
	}
}

// intoTemplate puts a description into swag's docs.go: everything from its paths on. What stands before them is a
// template that is filled in when it is served.
func intoTemplate(source, description []byte) ([]byte, error) {
	paths, end := []byte("\n    \"paths\": "), []byte("\n}`\n")
	from, to := bytes.Index(source, paths), bytes.Index(source, end)
	body := bytes.Index(description, paths)
	if from < 0 || to < from || body < 0 {
		return nil, errors.New("docs.go: swag writes it in another way than expected")
	}
	tail := bytes.TrimSuffix(description[body:], []byte("\n}"))
	tail = bytes.ReplaceAll(tail, []byte("`"), []byte("` + \"`\" + `"))
	return bytes.Join([][]byte{source[:from], tail, source[to:]}, nil), nil
}
