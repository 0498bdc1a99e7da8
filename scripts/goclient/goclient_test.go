package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a description with one operation of each kind. COST is a placeholder
// for the extension of the first one.
const sample = `{
	"openapi": "3.1.0", "info": {"title": "Shop", "version": "1"},
	"paths": {
		"/v1/things/{id}": {
			"get": {
				"operationId": "getThing", "summary": "Get a thing", "security": [{"BearerAuth": []}], COST
				"parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
				"responses": {
					"200": {"description": "OK", "headers": {"ETag": {"schema": {"type": "string"}}},
						"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
					"404": {"description": "None", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
				}
			},
			"delete": {
				"operationId": "deleteThing", "summary": "Delete a thing", "description": "It is gone.\n\nReally.", "x-ratelimit": {"scope": "things:write", "group": "things:write", "cost": 5},
				"parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
				"responses": {"204": {"description": "Gone"}}
			},
			"patch": {
				"operationId": "patchThing", "summary": "Change a thing", "x-ratelimit": {"scope": "things:write", "group": "things:write", "cost": 5},
				"parameters": [
					{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}},
					{"name": "state", "in": "query", "schema": {"type": "string", "enum": ["sold", "open"]}}
				],
				"requestBody": {"required": true, "content": {
					"application/json": {"schema": {"$ref": "#/components/schemas/ThingPatch"}},
					"application/merge-patch+json": {"schema": {"$ref": "#/components/schemas/ThingPatch"}}
				}},
				"responses": {"204": {"description": "Changed"}}
			}
		},
		"/v1/things/{id}/picture": {
			"get": {
				"operationId": "getPicture", "summary": "See it", "x-ratelimit": {"scope": "", "group": "", "cost": 0},
				"parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
				"responses": {"200": {"description": "OK", "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}}
			}
		},
		"/livez": {"get": {"operationId": "livez", "summary": "Alive?", "security": [], "responses": {"204": {"description": "Yes"}}}}
	},
	"components": {
		"securitySchemes": {"BearerAuth": {"type": "http", "scheme": "bearer"}},
		"schemas": {
			"Problem": {"type": "object", "properties": {"title": {"type": "string"}}},
			"State": {"type": "string", "enum": ["open", "sold"]},
			"ThingPatch": {"type": "object", "description": "ThingPatch is what may change.", "properties": {
				"name": {"type": "string"}, "sold_at": {"type": ["string", "null"], "format": "date-time"},
				"state": {"type": "string", "enum": ["open", "sold"]}
			}},
			"Thing": {"type": "object", "required": ["id", "size", "left", "sold_at", "email"], "properties": {
				"id": {"type": "string"}, "size": {"type": "number"}, "left": {"type": "integer"},
				"sold_at": {"type": ["string", "null"], "format": "date-time"}, "email": {"type": "string", "format": "email"}
			}}
		}
	}
}`

const goodCost = `"x-ratelimit": {"scope": "things:read", "group": "things:read", "cost": 1},`

func sampleFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := generate([]byte(strings.Replace(sample, "COST", goodCost, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestGenerate_typedMethods(t *testing.T) {
	code := string(sampleFiles(t)["client.gen.go"])
	for _, want := range []string{
		"func (c *Client) GetThing(ctx context.Context, id string, edits ...RequestEdit) (*Thing, error) {",
		"func (c *Client) DeleteThing(ctx context.Context, id string, edits ...RequestEdit) error {",
		"func (c *Client) GetPicture(ctx context.Context, id string, edits ...RequestEdit) ([]byte, error) {",
		"func (c *Raw) GetThing(ctx context.Context, id string, reqEditors ...RequestEdit) (*http.Response, error) {",
		"Size   float64    `json:\"size\"`", "Left   int64      `json:\"left\"`",
		"SoldAt *time.Time `json:\"sold_at\"`", "Email  string     `json:\"email\"`",
	} {
		if !strings.Contains(code, want) {
			t.Errorf("generated code lacks %s", want)
		}
	}
	for _, unwanted := range []string{"type Problem ", "ClientInterface", "Headers struct", "RequestEditorFn", "(devel)"} {
		if strings.Contains(code, unwanted) {
			t.Errorf("generated code has %q", unwanted)
		}
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "", code, 0); err != nil {
		t.Error(err)
	}
}

func TestGenerate_nullablePatchFields(t *testing.T) {
	code := string(sampleFiles(t)["client.gen.go"])
	for _, want := range []string{
		"SoldAt nullable.Nullable[time.Time] `json:\"sold_at,omitempty\"`", "*string ", "\"github.com/oapi-codegen/nullable\"",
		"PatchThing(ctx context.Context, id string, params *PatchThingParams, body ThingPatch, edits ...RequestEdit) error {",
	} {
		if !strings.Contains(code, want) {
			t.Errorf("generated code lacks %s", want)
		}
	}
}

func TestGenerate_names(t *testing.T) {
	code := string(sampleFiles(t)["client.gen.go"])
	for _, want := range []string{
		"// ThingPatch is what may change.\ntype ThingPatch struct {", "State  *State ", "State *State `form:\"state",
		"func newGetThingRequest(", "// It is gone.\n//\n// Really.\nfunc (c *Client) DeleteThing(",
	} {
		if !strings.Contains(code, want) {
			t.Errorf("generated code lacks %s", want)
		}
	}
	for _, unwanted := range []string{"MergePatch", "JSONRequestBody", "ThingPatchState", "PatchThingParamsState", "func NewGetThing", "ThingPatch = "} {
		if strings.Contains(code, unwanted) {
			t.Errorf("generated code has %q", unwanted)
		}
	}
}

func TestGenerate_costs(t *testing.T) {
	table := string(sampleFiles(t)["costs.gen.go"])
	want := `	{method: "GET", pattern: "/v1/things/*", group: "things:read", cost: 1},
	{method: "PATCH", pattern: "/v1/things/*", group: "things:write", cost: 5},
	{method: "DELETE", pattern: "/v1/things/*", group: "things:write", cost: 5},
	{method: "GET", pattern: "/v1/things/*/picture", group: "", cost: 0},
}`
	if !strings.Contains(table, want) || strings.Contains(table, "livez") {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
}

func TestGenerate_unknownCost(t *testing.T) {
	for _, bad := range []string{
		"", `"x-ratelimit": 5,`, `"x-ratelimit": {"group": "things:read"},`, `"x-ratelimit": {"cost": 1.5},`,
		`"x-ratelimit": {"cost": -1},`, `"x-ratelimit": {"cost": "1"},`, `"x-ratelimit": {"cost": 1, "group": 7},`,
	} {
		_, err := generate([]byte(strings.Replace(sample, "COST", bad, 1)))
		if err == nil || !strings.Contains(err.Error(), "GET /v1/things/{id}") || !strings.Contains(err.Error(), "x-ratelimit") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

func TestRun_check(t *testing.T) {
	dir := t.TempDir()
	spec := filepath.Join(dir, "openapi.json")
	if err := os.WriteFile(spec, []byte(strings.Replace(sample, "COST", goodCost, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(spec, dir, true); err == nil {
		t.Error("missing files pass the check")
	}
	if err := run(spec, dir, false); err != nil {
		t.Fatal(err)
	}
	if err := run(spec, dir, true); err != nil {
		t.Errorf("new files fail the check: %v", err)
	}
	path := filepath.Join(dir, "client.gen.go")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(content, []byte("GetThing"), []byte("GetThat"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(spec, dir, true); err == nil || !strings.Contains(err.Error(), "client.gen.go is out of date") || strings.Contains(err.Error(), "costs") {
		t.Errorf("check of an edited file: %v", err)
	}
}
