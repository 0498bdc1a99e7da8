package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ratelimiter/models"
)

// These tests compare the limits in the description with those of the server where the server doesn't read them from the
// struct tags that the description is generated from.

// boundedSchema is the part of a JSON Schema that these tests read.
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

// schemaProperties returns the properties of a schema of the description.
func schemaProperties(t *testing.T, name string) map[string]boundedSchema {
	t.Helper()
	var spec struct {
		Components struct{ Schemas map[string]json.RawMessage }
	}
	var schema struct{ Properties map[string]boundedSchema }
	decodeDescription(t, &spec)
	if err := json.Unmarshal(spec.Components.Schemas[name], &schema); err != nil {
		t.Fatal(err)
	}
	return schema.Properties
}

func TestDescription_metadata_limits(t *testing.T) {
	admin := newApp(t).admin()
	key := createKey(t, admin, `{"name":"labelled"}`)
	for name, send := range map[string]func(metadata map[string]any) int{
		"CreateKeyRequest": func(m map[string]any) int {
			return admin.Post("/v1/admin/keys", map[string]any{"name": "one", "metadata": m}).Status
		},
		"UpdateKeyRequest": func(m map[string]any) int {
			return admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, map[string]any{"metadata": m}).Status
		},
	} {
		described := schemaProperties(t, name)["metadata"]
		names, values := described.PropertyNames, described.AdditionalProperties
		if names == nil || names.MinLength == nil || names.MaxLength == nil || values == nil || values.MaxLength == nil {
			t.Fatalf("%s: metadata has no described limits: %+v", name, described)
		}
		longName, longValue := strings.Repeat("ü", *names.MaxLength), strings.Repeat("ü", *values.MaxLength)
		for what, test := range map[string]struct {
			metadata map[string]any
			valid    bool
		}{
			"the longest name":   {map[string]any{longName: ""}, true},
			"a longer name":      {map[string]any{longName + "x": ""}, false},
			"the shortest name":  {map[string]any{strings.Repeat("x", *names.MinLength): ""}, true},
			"a shorter name":     {map[string]any{strings.Repeat("x", *names.MinLength-1): ""}, false},
			"the longest value":  {map[string]any{"x": longValue}, true},
			"a longer value":     {map[string]any{"x": longValue + "x"}, false},
			"null, if described": {map[string]any{"x": nil}, strings.Contains(fmt.Sprint(values.Type), "null")},
		} {
			if status := send(test.metadata); (status < 300) != test.valid || status >= 500 {
				t.Errorf("%s: %s: got status %d; described as valid: %v", name, what, status, test.valid)
			}
		}
	}
}

func TestDescription_scopes(t *testing.T) {
	admin := newApp(t).admin()
	key := createKey(t, admin, `{"name":"scoped"}`)
	for name, send := range map[string]func(scopes []models.Scope) int{
		"CreateKeyRequest": func(s []models.Scope) int {
			return admin.Post("/v1/admin/keys", map[string]any{"name": "one", "scopes": s}).Status
		},
		"UpdateKeyRequest": func(s []models.Scope) int {
			return admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, map[string]any{"scopes": s}).Status
		},
	} {
		described := schemaProperties(t, name)["scopes"]
		if described.Items == nil || described.Items.Ref != "#/components/schemas/Scope" {
			t.Errorf("%s: got schema %+v of scopes; want a reference to Scope", name, described)
		}
		repeated := []models.Scope{models.ScopeOrdersRead, models.ScopeOrdersRead}
		if got := send(repeated); (got < 300) == described.UniqueItems {
			t.Errorf("%s: repeated scope: got status %d; described as invalid: %v", name, got, described.UniqueItems)
		}
		for _, scope := range models.AllScopes() {
			if got := send([]models.Scope{scope}); got >= 300 {
				t.Errorf("%s: scope %s: got status %d; want success", name, scope, got)
			}
		}
	}
	var spec struct {
		Components struct {
			Schemas struct{ Scope struct{ Enum []models.Scope } }
		}
	}
	decodeDescription(t, &spec)
	if got := spec.Components.Schemas.Scope.Enum; !slices.Equal(got, models.AllScopes()) {
		t.Errorf("got described scopes %v; want %v", got, models.AllScopes())
	}
}

// The pattern describes the format of a grace period. Its range is documented in words.
func TestDescription_grace_pattern(t *testing.T) {
	admin := newApp(t).admin()
	described := schemaProperties(t, "RotateKeyRequest")["grace"]
	pattern := regexp.MustCompile(fmt.Sprint(described.Pattern))
	for _, grace := range []string{
		fmt.Sprint(described.Default), "0s", "7d", "000000001h", "0000000001h", "1w", "", "s", "1.5h", "+1h", " 1h", "1h ", "1H", "1h\n", "١h",
	} {
		key := createKey(t, admin, `{"name":"old"}`)
		response := admin.Post("/v1/admin/keys/"+key.ID+"/rotate", map[string]any{"grace": grace})
		want := http.StatusUnprocessableEntity
		if pattern.MatchString(grace) {
			want = http.StatusCreated
		}
		if response.Status != want {
			t.Errorf("grace %q: got status %d; want %d by the described pattern", grace, response.Status, want)
		}
	}
}
