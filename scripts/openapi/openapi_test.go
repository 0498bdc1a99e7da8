package main

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// TestMain runs the tests in the root of the repository, like the command.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestRun_committedFilesAreUpToDate(t *testing.T) {
	if err := run(true); err != nil {
		t.Error(err)
	}
}

// embedded and sample have every kind of field.
type embedded struct {
	ID string `json:"id" example:"a1"`
}

type sample struct {
	embedded
	Count   int64                    `json:"count" minimum:"1" maximum:"9" default:"3"`
	Share   float64                  `json:"share,omitempty"`
	On      bool                     `json:"on,omitempty"`
	Name    binding.Optional[string] `json:"name" validate:"required" minLength:"2" maxLength:"5" pattern:"^a" example:"ab"`
	Until   *binding.Time            `json:"until" format:"date-time"`
	At      time.Time                `json:"at,omitzero"`
	Tags    []string                 `json:"tags" minItems:"1" maxItems:"2" maxLength:"7" uniqueItems:"true" example:"x,y"`
	Labels  map[string]*string       `json:"labels" maxItems:"4" minName:"1" maxName:"8" exampleJSON:"{\"b\":1,\"a\":2}"`
	Scope   models.Scope             `json:"scope" enums:"admin"`
	Price   *models.Money            `json:"price"`
	Raw     json.RawMessage          `json:"raw" extensions:"x-nullable"`
	Network binding.Network          `json:"network"`
	Hidden  string                   `json:"-"`
}

func TestSchemas_schemaOf(t *testing.T) {
	for name, want := range map[string]string{
		"id":      `{"type":"string","examples":["a1"]}`,
		"count":   `{"type":"integer","format":"int64","minimum":1,"maximum":9,"default":3}`,
		"share":   `{"type":"number","format":"double"}`,
		"on":      `{"type":"boolean"}`,
		"name":    `{"type":"string","minLength":2,"maxLength":5,"pattern":"^a","examples":["ab"]}`,
		"until":   `{"type":["string","null"],"format":"date-time"}`,
		"at":      `{"type":"string","format":"date-time"}`,
		"tags":    `{"type":"array","minItems":1,"maxItems":2,"uniqueItems":true,"items":{"type":"string","maxLength":7},"examples":[["x","y"]]}`,
		"labels":  `{"type":"object","maxProperties":4,"propertyNames":{"minLength":1,"maxLength":8},"additionalProperties":{"type":["string","null"]},"examples":[{"b":1,"a":2}]}`,
		"scope":   `{"allOf":[{"$ref":"#/components/schemas/Scope"}],"enum":["admin"]}`,
		"price":   `{"anyOf":[{"$ref":"#/components/schemas/Money"},{"type":"null"}]}`,
		"raw":     `{"type":["object","null"]}`,
		"network": `{"type":"string"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSchemas()
			properties := propertiesOf(s.schemaOf(reflect.TypeFor[sample](), false).Value)
			i := slices.IndexFunc(properties, func(m member) bool { return m.name == name })
			got := properties[i].value
			if s.faults != nil || !reflect.DeepEqual(decoded(t, got), decoded(t, json.RawMessage(want))) {
				t.Errorf("%v, want %s; faults %v", decoded(t, got), want, s.faults)
			}
		})
	}
}

func TestSchemas_required(t *testing.T) {
	for want, request := range map[string]bool{"name": true, "count id labels name network price raw scope tags until": false} {
		s := newSchemas()
		if got := strings.Join(s.schemaOf(reflect.TypeFor[sample](), request).Value.Required, " "); got != want {
			t.Errorf("request %v: required %q, want %q", request, got, want)
		}
	}
}

func TestSchemas_faults(t *testing.T) {
	type money struct{}
	for name, typ := range map[string]reflect.Type{
		"is used in requests and in responses": reflect.TypeFor[models.Money](),
		"has no schema":                        reflect.TypeFor[chan int](),
		"would both be called": reflect.TypeFor[struct {
			A models.Money `json:"a"`
			B money        `json:"b"`
		}](),
		"minLength": reflect.TypeFor[struct {
			A string `json:"a" minLength:"x"`
		}](),
		"unexpected end of JSON input": reflect.TypeFor[struct {
			A int `json:"a" example:"{"`
		}](),
	} {
		s := newSchemas()
		s.schemaOf(typ, false)
		if name == "is used in requests and in responses" {
			s.schemaOf(typ, true)
		}
		if len(s.faults) != 1 || !strings.Contains(s.faults[0].Error(), name) {
			t.Errorf("faults %v, want one with %q", s.faults, name)
		}
	}
}

func TestSchemas_example(t *testing.T) {
	s := newSchemas()
	got, written := exampleOf(s.schemaOf(reflect.TypeFor[sample](), true).Value)
	text, err := json.Marshal(got)
	if want := `{"id":"a1","name":"ab","tags":["x","y"],"labels":{"b":1,"a":2},"price":{"amount":1999,"currency":"EUR"}}`; string(text) != want || !written || err != nil {
		t.Errorf("%s (%v), want %s", text, err, want)
	}
}

func TestComponentName(t *testing.T) {
	for want, typ := range map[string]reflect.Type{
		"Sample": reflect.TypeFor[sample](), "ProductList": reflect.TypeFor[handlers.List[models.Product]](),
	} {
		if got := componentName(typ); got != want {
			t.Errorf("%s is called %s, want %s", typ, got, want)
		}
	}
}

func TestSource_description(t *testing.T) {
	const code = `package p

// Grade is the quality of a thing. It
// is fixed.
//
// For readers of the source.
type Grade string

// Grades.
const (
	// Good is without faults.
	//
	// For readers of the source.
	Good Grade = "good"
	Bad  Grade = "bad" // has faults
)

// order contains things. Is is not left out.
type order struct {
	// ID is the order's id.
	ID   string
	Kind Grade // kind of order
}
`
	file, err := parser.ParseFile(token.NewFileSet(), "", code, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	src := source{map[string]string{}, map[string][]constant{}}
	src.add(file)
	for name, want := range map[string]string{
		"p.Grade": "The quality of a thing. It is fixed.", "p.order": "Order contains things. Is is not left out.",
		"p.order.ID": "The order's id.", "p.order.Kind": "Kind of order", "p.other": "",
	} {
		if got := src.description(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := src.values("p.Grade"); !reflect.DeepEqual(got, []any{"good", "bad"}) {
		t.Errorf("values %v", got)
	}
	if got, want := src.meanings("p.Grade"), "\n- `good`: is without faults\n- `bad`: has faults"; got != want {
		t.Errorf("meanings %q, want %q", got, want)
	}
}

func TestSchemas_meaningsOf(t *testing.T) {
	type grade string
	s := &schemas{source: source{constants: map[string][]constant{"main.grade": {{"good", "without faults"}, {"bad", ""}}}}}
	if s.meaningsOf(reflect.TypeFor[grade]()); len(s.faults) != 1 || !strings.Contains(s.faults[0].Error(), `"bad" of main.grade has no comment`) {
		t.Errorf("faults %v, want one about the constant without a comment", s.faults)
	}
}

func TestDescribe_faults(t *testing.T) {
	_, err := describe([]byte(`{"paths":{
		"/v1/nowhere":{"get":{"operationId":"getNothing","responses":{}}},
		"/v1/products/{id}":{"get":{"operationId":"getProduct","produces":["application/json"],"responses":{
			"200":{"schema":{"$ref":"#/definitions/models.Order"},"headers":{"X-New":{"type":"string"}}},"418":{}}}}
	}}`))
	for _, want := range []string{
		"GET /v1/nowhere (getNothing): in the route table: false; in handlers.Operations: false",
		"getProduct: no @Param for path id",
		"getProduct: the annotations have the type #/definitions/models.Order, handlers.Operations has #/definitions/models.Product",
		"getProduct: shared.json has no header X-New",
		"getProduct: no shared problem has the status 418",
		"handlers.Operations has createOrder, which no annotation describes",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q", want)
		}
	}
}

// decoded is a value as JSON has it, without the order of members.
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
