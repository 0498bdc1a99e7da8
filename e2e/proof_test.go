package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ratelimiter/docs"
	"ratelimiter/internal/server"
	"ratelimiter/internal/testkit"
	"ratelimiter/internal/testkit/contract"
)

// The proof: every status that the description names is what the server answers
// for some cause, one cause a status and operation. Mostly it is the same cause
// everywhere: 422 is an unknown field or a parameter out of its range, 404 an id
// that there is none of, 429 a quota that is used up (where nothing is charged,
// an address that failed too often), 503 a database that is gone before the key
// is known, 500 tables that are missing. That no other status is answered is for
// the client to see: it checks each answer of every test against the
// description, header fields and body included.
//
// So the table doesn't prove that each cause gets its status. Others stand with
// what they are about: what is wrong with an input in internal/binding and
// keys_test.go, conflicts in keys_test.go and plans_test.go, stale versions there
// too, scopes that are missing in table_test.go, idempotency keys in
// idempotency_test.go, entity tags in etag_test.go, policies that refuse in
// limits_test.go, and overload in invoice_test.go.

// producer brings an operation to answer with a status.
type producer func(p *proof, op operation) *testkit.Response

// operation is one of the description's, as the route table has it.
type operation struct {
	id, method, path string
	route            server.Route
	scoped           bool   // needs a scope
	secured          bool   // needs a key
	body             string // a right one; "": it takes none
}

func TestEveryDescribedStatusIsProduced(t *testing.T) {
	description, err := contract.Load(docs.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	p := newProof(t)
	unused := maps.Clone(special)
	statuses := description.Statuses()
	cases := 0
	for _, id := range slices.Sorted(maps.Keys(statuses)) {
		method, path := description.Route(id)
		op := p.operation(id, method, path)
		for _, status := range statuses[id] {
			name := fmt.Sprintf("%s %d", id, status)
			produce := special[name]
			delete(unused, name)
			if produce == nil {
				produce = producerOf(status)
			}
			if produce == nil {
				t.Errorf("%s: nothing here produces it", name)
				continue
			}
			cases++
			t.Run(name, func(t *testing.T) { p.check(t, op, status, produce) })
		}
	}
	for name := range unused {
		t.Errorf("%s has a producer, and isn't described", name)
	}
	t.Logf("%d statuses of %d operations", cases, len(statuses))
}

// producerOf is the producer of a status for any operation; nil if there is
// none.
func producerOf(status int) producer {
	if status >= 200 && status < 300 {
		return succeed
	}
	return generic[status]
}

func (p *proof) check(t *testing.T, op operation, status int, produce producer) {
	if answer := produce(p, op); answer.Status != status {
		t.Errorf("answers %d: %s", answer.Status, answer.Body)
	}
}

// operation finds an operation's line in the route table, and the body that
// the table of accesses has for it.
func (p *proof) operation(id, method, path string) operation {
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
		p.t.Fatalf("%s has no line in the table of accesses", id)
	}
	return op
}

// takesBody reports whether the operation reads a body, be it optional.
func (op operation) takesBody() bool {
	return op.body != "" || strings.HasSuffix(op.path, "/rotate") || strings.HasSuffix(op.path, "/reset")
}

// elsewhere is the operation's path with a thing that there is none of.
func (op operation) elsewhere() string {
	return parameterInBraces.ReplaceAllString(op.path, "none")
}

// unusable are the examples of requests that can't succeed by themselves, with
// what they need first.
var unusable = map[string]string{
	"commitLimit":  "names a reservation, which has to be made first",
	"releaseLimit": "names a reservation, which has to be made first",
}

// Whoever tries an operation on the docs page sends its example as it stands.
func TestEveryRequestsExampleIsAccepted(t *testing.T) {
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string
			RequestBody struct {
				Content map[string]struct{ Example json.RawMessage }
			}
		}
	}
	if err := json.Unmarshal(docs.OpenAPI(), &spec); err != nil {
		t.Fatal(err)
	}
	app := newApp(t)
	p := &proof{testApp: app, t: t}
	for path, methods := range spec.Paths {
		for method, described := range methods {
			example := described.RequestBody.Content["application/json"].Example
			if described.RequestBody.Content == nil || unusable[described.OperationID] != "" {
				continue
			}
			op := p.operation(described.OperationID, strings.ToUpper(method), path)
			at := app.things(op.route.Path)
			if strings.HasPrefix(path, "/v1/admin/keys/{id}") { // an ordinary key, with policies
				at = strings.Replace(path, "{id}", made(t, app.admin(), `{"name":"ordinary"}`).ID, 1)
			}
			answer := app.admin().Do(op.method, at, []byte(example))
			if len(example) == 0 || answer.Status >= 300 {
				t.Errorf("%s: the example %s gets %d: %s", op.id, example, answer.Status, answer.Body)
			}
		}
	}
}
