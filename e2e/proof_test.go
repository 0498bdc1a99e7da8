package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"ratelimiter/docs"
	"ratelimiter/internal/server"
	"ratelimiter/internal/testkit"
)

// TestDescription_statuses produces every described status of every operation, by
// one cause each. Most causes are the same for all operations: an unknown field or
// a parameter out of range (422), an unknown ID (404), a spent quota or a blocked
// address (429), an unreachable database (503) and missing tables (500). Undescribed
// statuses are detected by testkit.Client, which checks every response of all tests.
//
// Other causes are tested elsewhere: invalid input in internal/binding and
// keys_test.go, conflicts and preconditions in keys_test.go and plans_test.go,
// missing scopes in table_test.go, idempotency keys in idempotency_test.go, entity
// tags in etag_test.go, refusals in limits_test.go and overload in invoice_test.go.

// producer sends a request to which an operation responds with a status.
type producer func(f *statusFixture, op operation) *testkit.Response

// operation is a described operation and its route.
type operation struct {
	id, method, path string
	route            server.Route
	scoped           bool   // needs a scope
	secured          bool   // needs a key
	body             string // valid; "": none required
}

func TestDescription_statuses(t *testing.T) {
	t.Parallel()
	description, err := openapi3.NewLoader().LoadFromData(docs.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	f := newStatusFixture(t)
	unused := maps.Clone(special)
	operations, statuses := map[string]operation{}, map[string][]string{}
	for path, item := range description.Paths.Map() {
		for method, op := range item.Operations() {
			operations[op.OperationID] = f.operation(op.OperationID, method, path)
			statuses[op.OperationID] = slices.Sorted(maps.Keys(op.Responses.Map()))
		}
	}
	cases := 0
	for _, id := range slices.Sorted(maps.Keys(statuses)) {
		op := operations[id]
		for _, code := range statuses[id] {
			status, err := strconv.Atoi(code)
			if err != nil {
				t.Errorf("%s describes the status %s, which is no number", id, code)
			}
			name := fmt.Sprintf("%s %d", id, status)
			produce := special[name]
			delete(unused, name)
			if produce == nil {
				produce = producerOf(status)
			}
			if produce == nil {
				t.Errorf("%s has no producer", name)
				continue
			}
			cases++
			t.Run(name, func(t *testing.T) { f.check(t, op, status, produce) })
		}
	}
	for name := range unused {
		t.Errorf("%s has a producer, but isn't described", name)
	}
	t.Logf("%d statuses of %d operations", cases, len(statuses))
}

// producerOf returns the generic producer of a status, or nil.
func producerOf(status int) producer {
	if status >= 200 && status < 300 {
		return succeed
	}
	return generic[status]
}

func (f *statusFixture) check(t *testing.T, op operation, status int, produce producer) {
	if response := produce(f, op); response.Status != status {
		t.Errorf("got status %d; want %d: %s", response.Status, status, response.Body)
	}
}

// operation returns a described operation with its route, and its body from
// accessTable.
func (f *statusFixture) operation(id, method, path string) operation {
	op := operation{id: id, method: method, path: path}
	for _, r := range server.Routes(server.Handlers{}) {
		if r.Method == method && pathParameter.ReplaceAllString(r.Path, "{$1}") == path {
			op.route = r
		}
	}
	for _, line := range accessTable {
		if line.route == method+" "+op.route.Path {
			op.secured, op.scoped, op.body = true, line.scope != "", line.body
		}
	}
	if op.secured != strings.HasPrefix(path, "/v1/") {
		f.t.Fatalf("%s is missing in accessTable", id)
	}
	return op
}

// takesBody reports whether the operation has a body, also an optional one.
func (op operation) takesBody() bool {
	return op.body != "" || strings.HasSuffix(op.path, "/rotate") || strings.HasSuffix(op.path, "/reset")
}

// unknownPath returns the path of the operation with an unknown ID.
func (op operation) unknownPath() string {
	return parameterInBraces.ReplaceAllString(op.path, "none")
}

// needsReservation lists the operations whose examples need an existing
// reservation.
var needsReservation = []string{"commitLimit", "releaseLimit"}

// Swagger UI sends the example of an operation by default.
func TestDescription_request_examples(t *testing.T) {
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string
			RequestBody struct {
				Content map[string]struct{ Example json.RawMessage }
			}
		}
	}
	decodeDescription(t, &spec)
	app := newApp(t)
	f := &statusFixture{testApp: app, t: t}
	for path, methods := range spec.Paths {
		for method, described := range methods {
			example := described.RequestBody.Content["application/json"].Example
			if described.RequestBody.Content == nil || slices.Contains(needsReservation, described.OperationID) {
				continue
			}
			op := f.operation(described.OperationID, strings.ToUpper(method), path)
			at := app.resourcePath(op.route.Path)
			if strings.HasPrefix(path, "/v1/admin/keys/{id}") { // a key with policies
				at = strings.Replace(path, "{id}", createKey(t, app.admin(), `{"name":"key"}`).ID, 1)
			}
			response := app.admin().Do(op.method, at, []byte(example))
			if len(example) == 0 || response.Status >= 300 {
				t.Errorf("%s: example %s: got %d: %s", op.id, example, response.Status, response.Body)
			}
		}
	}
}
