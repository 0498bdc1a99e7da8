package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestAStructsTagsDescribeItsParameters(t *testing.T) {
	params := operations(sampleSpec(t))["changeProduct"].Parameters
	want := `[
		{"name":"id","in":"path","description":"The product's id","required":true,"schema":{"type":"string","minLength":3,"maxLength":64},"example":"prd_1"},
		{"name":"limit","in":"query","description":"How many","schema":{"type":"integer","format":"int64","minimum":1,"maximum":100,"default":20,"examples":[20]}},
		{"name":"cursor","in":"query","description":"Where the last page ended","schema":{"type":"string","pattern":"^[a-z]*$","examples":["abc"]}},
		{"name":"since","in":"query","description":"Only if it changed since","schema":{"type":"string","format":"date-time","examples":["2026-01-15T09:30:00Z"]}},
		{"name":"currency","in":"query","description":"In which currencies","style":"form","explode":true,
			"schema":{"type":"array","minItems":1,"maxItems":2,"items":{"type":"string","enum":["EUR","USD"]}}},
		{"name":"sort","in":"query","description":"By what","required":true,"schema":{"type":"string","enum":["name","price"],"default":"name","examples":["name"]}},
		{"name":"If-Match","in":"header","description":"Only this version","schema":{"type":"string","maxLength":40}}
	]`
	if got, wanted := decoded(t, params), decoded(t, json.RawMessage(want)); !reflect.DeepEqual(got, wanted) {
		t.Errorf("parameters are\n%v, want\n%v", got, wanted)
	}
	if !strings.Contains(string(sampleFiles(t)["docs.go"]), `"pattern": "^[a-z]*$"`) {
		t.Error("the Swagger 2.0 form lacks them")
	}
}

// decoded is value as JSON shows it, without the order of names.
func decoded(t *testing.T, value any) (out any) {
	t.Helper()
	data, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestExamplesAreComposedOfTheFields(t *testing.T) {
	doc := sampleSpec(t)
	ops := operations(doc)
	body := ops["changeProduct"].RequestBody.Value.Content["application/json"].Example
	if want := map[string]any{"name": "Mug"}; !reflect.DeepEqual(body, want) {
		t.Errorf("the body's example is %v, want %v", body, want)
	}
	page, _ := ops["listProducts"].Responses.Value("200").Value.Content["application/json"].Example.(map[string]any)
	items, _ := page["data"].([]any)
	if len(items) != 1 || page["next_cursor"] != nil {
		t.Fatalf("the page's example is %v", page)
	}
	product, _ := items[0].(map[string]any)
	if _, there := product["badge"]; there || product["name"] != "" || product["old_price"] == nil {
		t.Errorf("the product's example is %v: want what is required, and what has an example", product)
	}
	made, _ := ops["createProduct"].RequestBody.Value.Content["application/json"].Example.(map[string]any)
	if want := map[string]any{"amount": 250.0, "currency": "USD"}; !reflect.DeepEqual(made["price"], want) {
		t.Errorf("the price's example is %v, want its own: %v", made["price"], want)
	}
	for id, op := range ops {
		for code, response := range op.Responses.Map() {
			for mediaType, media := range response.Value.Content {
				if strings.HasSuffix(mediaType, "json") && media.Example == nil {
					t.Errorf("%s %s has no example", id, code)
				}
			}
		}
	}
}

func TestAnErrorsExampleSaysWhatTheOperationSays(t *testing.T) {
	ops := operations(sampleSpec(t))
	for where, want := range map[string]string{
		"changeProduct 409": "It is sold out. /v1/products/prd_1", "createProduct 409": "The name is taken. /v1/products",
	} {
		id, code, _ := strings.Cut(where, " ")
		example, _ := ops[id].Responses.Value(code).Value.Content[problemType].Example.(map[string]any)
		if got := fmt.Sprint(example["detail"], " ", example["instance"]); got != want || example["status"] != 409.0 {
			t.Errorf("%s: the example says %q, want %q", where, got, want)
		}
	}
}

func TestAPathsExampleIsThatOfWhatItNames(t *testing.T) {
	schema := &openapi3.Schema{Properties: openapi3.Schemas{"id": {Value: &openapi3.Schema{Examples: []any{"p1"}}}}}
	answer := openapi3.NewResponses(openapi3.WithStatus(200, &openapi3.ResponseRef{Value: &openapi3.Response{
		Content: openapi3.NewContentWithJSONSchema(schema),
	}}))
	id := func() openapi3.Parameters {
		return openapi3.Parameters{{Value: openapi3.NewPathParameter("id").WithSchema(openapi3.NewStringSchema())}}
	}
	parts := &openapi3.Operation{Parameters: id(), Responses: openapi3.NewResponses()}
	doc := &openapi3.T{Paths: openapi3.NewPaths(
		openapi3.WithPath("/p/{id}", &openapi3.PathItem{Get: &openapi3.Operation{Parameters: id(), Responses: answer}}),
		openapi3.WithPath("/p/{id}/parts", &openapi3.PathItem{Post: parts}),
	)}
	addParameterExamples(doc)
	if got := parts.Parameters[0].Value.Example; got != "p1" {
		t.Errorf("the example is %v, want that of GET /p/{id}: p1", got)
	}
}
