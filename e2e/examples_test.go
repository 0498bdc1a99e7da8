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

// exampleWalk visits every example of the description.
type exampleWalk struct {
	t        *testing.T
	compiler *jsonschema.Compiler
	seen     int
}

func TestEveryExampleIsAsItsSchemaSays(t *testing.T) {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.OpenAPI()))
	if err != nil {
		t.Fatal(err)
	}
	w := &exampleWalk{t: t, compiler: jsonschema.NewCompiler()}
	w.compiler.DefaultDraft(jsonschema.Draft2020)
	w.compiler.AssertFormat()
	if err := w.compiler.AddResource("openapi:examples", root); err != nil {
		t.Fatal(err)
	}
	w.visit(root, "")
	if w.seen < 100 {
		t.Errorf("%d examples were found; there are more", w.seen)
	}
}

// visit looks for examples in a node of the description at a JSON pointer: beside a schema, or in one.
func (w *exampleWalk) visit(node any, pointer string) {
	switch node := node.(type) {
	case map[string]any:
		if example, there := node["example"]; there && node["schema"] != nil {
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
		w.t.Errorf("%s: the example %v: %v", pointer, example, err)
	}
}

// answersOf are the answers of an operation, with those that it shares.
type answersOf struct {
	OperationID string
	Responses   map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]struct{ Example json.RawMessage }
	}
}

// A file's example is the file.
func TestEveryAnswerInJSONHasAnExample(t *testing.T) {
	var spec struct {
		Paths      map[string]map[string]answersOf
		Components answersOf
	}
	if err := json.Unmarshal(docs.OpenAPI(), &spec); err != nil {
		t.Fatal(err)
	}
	spec.Components.OperationID = "shared"
	operations := []answersOf{spec.Components}
	for _, methods := range spec.Paths {
		for _, op := range methods {
			operations = append(operations, op)
		}
	}
	for _, op := range operations {
		for status, answer := range op.Responses {
			for mediaType, media := range answer.Content {
				if strings.HasSuffix(mediaType, "json") && len(media.Example) == 0 {
					t.Errorf("%s %s has no example", op.OperationID, status)
				}
			}
		}
	}
}

func TestTheExampleOfAnOrderAddsUp(t *testing.T) {
	var spec struct {
		Paths map[string]map[string]answersOf
	}
	if err := json.Unmarshal(docs.OpenAPI(), &spec); err != nil {
		t.Fatal(err)
	}
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
		t.Errorf("items come to %d, in the order %s", sum, example)
	}
}

// pointerEscapes escapes names in JSON pointers.
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
