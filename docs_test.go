package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ratelimiter/docs"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/testkit"
)

// notDescribed are the routes that serve the description itself.
var notDescribed = []string{"GET /docs", "GET /swagger/*any", "GET /openapi.json"}

// described returns every operation of the description, as "GET /v1/x/{id}",
// with its operationId.
func described(t *testing.T) map[string]string {
	t.Helper()
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	if err := json.Unmarshal(docs.OpenAPI(), &spec); err != nil {
		t.Fatal(err)
	}
	operations := map[string]string{}
	for path, methods := range spec.Paths {
		for method, operation := range methods {
			operations[strings.ToUpper(method)+" "+path] = operation.OperationID
		}
	}
	return operations
}

func TestTheDescriptionAndTheRouteTableAgree(t *testing.T) {
	a := &api{}
	operations := described(t)
	routes := map[string]bool{}
	for _, r := range append(a.routes(), a.openRoutes()...) {
		routes[r.method+" "+parameter.ReplaceAllString(r.path, "{$1}")] = true
	}
	for route := range routes {
		if _, found := operations[route]; !found && !slices.Contains(notDescribed, route) {
			t.Errorf("%s is not described", route)
		}
	}
	for operation := range operations {
		if !routes[operation] {
			t.Errorf("%s is described, but there is no such route", operation)
		}
	}
}

func TestADocsReaderCanSeeEveryOperationAndTryOne(t *testing.T) {
	browser := testkit.NewBrowser(t)
	app := newApp(t)
	app.plan("two", `[{"name":"two","algorithm":"fixed_window","limit":2,"period":"1h"}]`)
	browser.OpenDocs(app.Base())
	for operation, id := range described(t) {
		if !browser.ShowsOperation(id) {
			t.Errorf("/docs doesn't show %s", operation)
		}
	}
	browser.Authorize(testkit.BearerAuth, app.key(apikeys.NewKey{Plan: "two"}))
	for left := 1; left >= 0; left-- {
		answer := browser.TryOperation("listProducts")
		if answer.Status != "200" || !strings.Contains(answer.Body, "Espresso cups") ||
			!strings.Contains(answer.Headers, fmt.Sprintf(`ratelimit: "two";r=%d;`, left)) {
			t.Fatalf("shown: %+v", answer)
		}
	}
	if answer := browser.TryOperation("listProducts"); answer.Status != "429" || !strings.Contains(answer.Headers, "retry-after") {
		t.Errorf("shown: %+v", answer)
	}
	if faults := browser.Faults(); len(faults) > 1 { // the browser itself reports the 429
		t.Errorf("faults in the page: %v", faults)
	}
	if hosts := browser.Hosts(); len(hosts) != 1 {
		t.Errorf("the page loaded from %v", hosts)
	}
}

func TestTheDescriptionIsServedAsItStands(t *testing.T) {
	app := newApp(t)
	answer := app.Get("/openapi.json").Want(http.StatusOK)
	if string(answer.Body) != string(docs.OpenAPI()) {
		t.Error("what is served differs")
	}
	app.Get("/openapi.json", "If-None-Match", answer.Header.Get("ETag")).Want(http.StatusNotModified)
	if got := app.Get("/swagger/no-such-file").Want(http.StatusNotFound); !strings.Contains(string(got.Body), `"status":404`) {
		t.Errorf("body %s", got.Body)
	}
}
