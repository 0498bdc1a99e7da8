package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const definitionPrefix = "#/definitions/"

// renameDefinitions gives the definitions of a Swagger 2.0 document readable names and returns the new document with the
// old name of each definition by its new one.
func renameDefinitions(swagger []byte) (renamed []byte, oldNames map[string]string, err error) {
	var doc map[string]any
	if err := json.Unmarshal(swagger, &doc); err != nil {
		return nil, nil, err
	}
	definitions, _ := doc["definitions"].(map[string]any)
	newNames, err := readableNames(slices.Sorted(maps.Keys(definitions)))
	if err != nil {
		return nil, nil, err
	}

	moved := make(map[string]any, len(definitions))
	oldNames = make(map[string]string, len(definitions))
	for old, name := range newNames {
		moved[name] = definitions[old]
		oldNames[name] = old
	}
	doc["definitions"] = moved
	eachRef(doc, func(ref string) string {
		if name, ok := newNames[strings.TrimPrefix(ref, definitionPrefix)]; ok {
			return definitionPrefix + name
		}
		return ref
	})
	renamed, err = json.Marshal(doc)
	return renamed, oldNames, err
}

// readableNames maps swag's names to short ones: "models.Product" becomes Product, "handlers.List-models_Product" becomes
// ProductList. Where two packages have the same name, the one of models keeps it and the other's package is put before;
// of two in one package that differ in the first letter's case, the unexported one is a body and is called a request.
func readableNames(old []string) (map[string]string, error) {
	names := make(map[string]string, len(old))
	takenBy := map[string]string{}
	for _, modelsFirst := range []bool{true, false} {
		for _, name := range old {
			if strings.HasPrefix(name, "models.") != modelsFirst {
				continue
			}
			short := shortName(name)
			if takenBy[short] != "" {
				pkg, typ, _ := strings.Cut(name, ".")
				if takenBy[short] == pkg+"."+upperFirst(typ) {
					short += "Request"
				} else {
					short = upperFirst(pkg) + short
				}
			}
			if first := takenBy[short]; first != "" {
				return nil, fmt.Errorf("%s and %s would both be called %s: give one a // @name", first, name, short)
			}
			takenBy[short] = name
			names[name] = short
		}
	}
	return names, nil
}

// shortName drops the packages of a type and puts the arguments of a generic one before its name.
func shortName(name string) string {
	generic, args, _ := strings.Cut(name, "-")
	short := upperFirst(generic[strings.LastIndex(generic, ".")+1:])
	for arg := range strings.SplitSeq(args, "-") {
		arg = strings.TrimPrefix(arg, "array_")
		if _, typ, ok := strings.Cut(arg, "_"); ok {
			arg = typ
		}
		short = upperFirst(arg) + short
	}
	return short
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// eachRef replaces every reference in a decoded JSON document by what replace makes of it.
func eachRef(node any, replace func(ref string) string) {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			if ref, ok := value.(string); ok && key == "$ref" {
				node[key] = replace(ref)
				continue
			}
			eachRef(value, replace)
		}
	case []any:
		for _, value := range node {
			eachRef(value, replace)
		}
	}
}
