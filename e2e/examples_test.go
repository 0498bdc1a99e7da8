package e2e

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ratelimiter/docs"
	"ratelimiter/models"
)

// exampleWalk validates the examples in a description.
type exampleWalk struct {
	t        *testing.T
	root     any
	compiler *jsonschema.Compiler
	seen     int // examples
}

// newExampleWalk returns a walk over the API description.
func newExampleWalk(t *testing.T) *exampleWalk {
	t.Helper()
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.OpenAPI()))
	if err != nil {
		t.Fatal(err)
	}
	w := &exampleWalk{t: t, root: root, compiler: jsonschema.NewCompiler()}
	w.compiler.DefaultDraft(jsonschema.Draft2020)
	w.compiler.AssertFormat()
	if err := w.compiler.AddResource("openapi:examples", root); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestExamples_match_schemas(t *testing.T) {
	w := newExampleWalk(t)
	w.visit(w.root, "")
	if w.seen < 100 {
		t.Errorf("got %d examples; want at least 100", w.seen)
	}
}

// visit checks the examples of the node at a JSON pointer: next to a schema or in one.
func (w *exampleWalk) visit(node any, pointer string) {
	switch node := node.(type) {
	case map[string]any:
		if example, ok := node["example"]; ok && node["schema"] != nil {
			w.check(example, pointer+"/schema")
		}
		if list, isList := node["examples"].([]any); isList {
			for _, example := range list {
				w.check(example, pointer)
			}
		}
		for name, child := range node {
			if name != "example" && name != "examples" {
				w.visit(child, pointer+"/"+pointerEscapes.Replace(name))
			}
		}
	case []any:
		for i, child := range node {
			w.visit(child, pointer+"/"+strconv.Itoa(i))
		}
	}
}

func (w *exampleWalk) check(example any, pointer string) {
	w.seen++
	schema, err := w.compiler.Compile("openapi:examples#" + strings.ReplaceAll(pointer, "{", "%7B"))
	if err != nil {
		w.t.Errorf("%s: %v", pointer, err)
		return
	}
	if err := schema.Validate(example); err != nil {
		w.t.Errorf("%s: example %v: %v", pointer, example, err)
	}
}

// describedResponses is the part of an operation, or of the components, that
// describes responses.
type describedResponses struct {
	OperationID string
	Responses   map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]struct{ Example json.RawMessage }
	}
}

func TestExamples_of_json_responses(t *testing.T) {
	var spec struct {
		Paths      map[string]map[string]describedResponses
		Components describedResponses
	}
	decodeDescription(t, &spec)
	spec.Components.OperationID = "shared"
	operations := []describedResponses{spec.Components}
	for _, methods := range spec.Paths {
		for _, op := range methods {
			operations = append(operations, op)
		}
	}
	for _, op := range operations {
		for status, response := range op.Responses {
			for mediaType, media := range response.Content {
				if strings.HasSuffix(mediaType, "json") && len(media.Example) == 0 {
					t.Errorf("%s %s has no example", op.OperationID, status)
				}
			}
		}
	}
}

func TestExamples_order_total(t *testing.T) {
	var spec struct {
		Paths map[string]map[string]describedResponses
	}
	decodeDescription(t, &spec)
	var order models.Order
	example := spec.Paths["/v1/orders"]["post"].Responses["201"].Content["application/json"].Example
	if err := json.Unmarshal(example, &order); err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, item := range order.Items {
		sum += item.Quantity * item.UnitPrice.Amount
	}
	if sum != order.Total.Amount || sum == 0 || order.Status != models.OrderPending || order.Reason != nil {
		t.Errorf("got %d as the sum of the items of %s", sum, example)
	}
}

// pointerEscapes escapes names for JSON pointers.
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
