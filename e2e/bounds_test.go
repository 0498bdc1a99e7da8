package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ratelimiter/docs"
	"ratelimiter/models"
)

// What the description demands of a request is what the server demands, to the character: these are the rules that the
// server doesn't read from the tags that the description is made of.

// boundedSchema is what the description says about bodies, as far as it is tried here.
type boundedSchema struct {
	Type, Pattern        any
	Default              any
	MinLength, MaxLength *int
	UniqueItems          bool
	Items                *struct {
		Ref string `json:"$ref"`
	}
	PropertyNames, AdditionalProperties *boundedSchema
}

// describedBody returns the properties of a schema of the description.
func describedBody(t *testing.T, name string) map[string]boundedSchema {
	t.Helper()
	var spec struct {
		Components struct{ Schemas map[string]json.RawMessage }
	}
	var schema struct{ Properties map[string]boundedSchema }
	if err := json.Unmarshal(docs.OpenAPI(), &spec); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(spec.Components.Schemas[name], &schema); err != nil {
		t.Fatal(err)
	}
	return schema.Properties
}

func TestLabelsAreBoundedAsDescribed(t *testing.T) {
	admin := newApp(t).admin()
	key := made(t, admin, `{"name":"labelled"}`)
	for name, send := range map[string]func(metadata map[string]any) int{
		"CreateKey": func(m map[string]any) int {
			return admin.Post("/v1/admin/keys", map[string]any{"name": "one", "metadata": m}).Status
		},
		"KeyPatch": func(m map[string]any) int {
			return admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, map[string]any{"metadata": m}).Status
		},
	} {
		described := describedBody(t, name)["metadata"]
		names, values := described.PropertyNames, described.AdditionalProperties
		if names == nil || names.MinLength == nil || names.MaxLength == nil || values == nil || values.MaxLength == nil {
			t.Fatalf("%s: the description bounds no labels: %+v", name, described)
		}
		longest, wide := strings.Repeat("ü", *names.MaxLength), strings.Repeat("ü", *values.MaxLength)
		for what, try := range map[string]struct {
			metadata map[string]any
			right    bool
		}{
			"the longest name":   {map[string]any{longest: ""}, true},
			"a longer name":      {map[string]any{longest + "x": ""}, false},
			"the shortest name":  {map[string]any{strings.Repeat("x", *names.MinLength): ""}, true},
			"a shorter name":     {map[string]any{strings.Repeat("x", *names.MinLength-1): ""}, false},
			"the longest value":  {map[string]any{"x": wide}, true},
			"a longer value":     {map[string]any{"x": wide + "x"}, false},
			"null, if described": {map[string]any{"x": nil}, strings.Contains(fmt.Sprint(values.Type), "null")},
		} {
			if status := send(try.metadata); (status < 300) != try.right || status >= 500 {
				t.Errorf("%s: %s gets %d; described as right: %v", name, what, status, try.right)
			}
		}
	}
}

func TestScopesAreTakenAsDescribed(t *testing.T) {
	admin := newApp(t).admin()
	key := made(t, admin, `{"name":"scoped"}`)
	for name, send := range map[string]func(scopes []models.Scope) int{
		"CreateKey": func(s []models.Scope) int {
			return admin.Post("/v1/admin/keys", map[string]any{"name": "one", "scopes": s}).Status
		},
		"KeyPatch": func(s []models.Scope) int {
			return admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, map[string]any{"scopes": s}).Status
		},
	} {
		described := describedBody(t, name)["scopes"]
		if described.Items == nil || described.Items.Ref != "#/components/schemas/Scope" {
			t.Errorf("%s: scopes are described as %+v", name, described)
		}
		twice := []models.Scope{models.ScopeOrdersRead, models.ScopeOrdersRead}
		if got := send(twice); (got < 300) == described.UniqueItems {
			t.Errorf("%s: a scope that stands twice gets %d; described as wrong: %v", name, got, described.UniqueItems)
		}
		for _, scope := range models.AllScopes() {
			if got := send([]models.Scope{scope}); got >= 300 {
				t.Errorf("%s: the scope %s gets %d", name, scope, got)
			}
		}
	}
	if described := describedScopes(t); !slices.Equal(described, models.AllScopes()) {
		t.Errorf("described are %v, and there are %v", described, models.AllScopes())
	}
}

// describedScopes returns the values of the schema Scope.
func describedScopes(t *testing.T) []models.Scope {
	t.Helper()
	var spec struct {
		Components struct {
			Schemas struct{ Scope struct{ Enum []models.Scope } }
		}
	}
	if err := json.Unmarshal(docs.OpenAPI(), &spec); err != nil {
		t.Fatal(err)
	}
	return spec.Components.Schemas.Scope.Enum
}

// How long a grace can be is told in words: a pattern of it would tell nobody anything.
func TestAGraceIsSpelledAsDescribed(t *testing.T) {
	admin := newApp(t).admin()
	described := describedBody(t, "RotateKey")["grace"]
	pattern := regexp.MustCompile(fmt.Sprint(described.Pattern))
	for _, grace := range []string{
		fmt.Sprint(described.Default), "0s", "7d", "000000001h", "0000000001h", "1w", "", "s", "1.5h", "+1h", " 1h", "1h ", "1H", "1h\n", "١h",
	} {
		key := made(t, admin, `{"name":"old"}`)
		answer := admin.Post("/v1/admin/keys/"+key.ID+"/rotate", map[string]any{"grace": grace})
		want := http.StatusUnprocessableEntity
		if pattern.MatchString(grace) {
			want = http.StatusCreated
		}
		if answer.Status != want {
			t.Errorf("grace %q gets %d; as it is described, it should get %d", grace, answer.Status, want)
		}
	}
}
