package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ratelimiter/docs"
	"ratelimiter/internal/server"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// notDescribed are the routes that serve the description itself.
var notDescribed = []string{
	"GET /", "GET /docs", "GET /swagger/*any", "GET /redoc", "GET /redoc/*any", "GET /openapi.json",
}

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
	operations := described(t)
	routes := map[string]bool{}
	for _, r := range server.Routes(server.Handlers{}) {
		routes[r.Method+" "+pathParameter.ReplaceAllString(r.Path, "{$1}")] = true
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

// The description's x-ratelimit is read from the table's source; this is the
// table itself.
func TestTheDescriptionTellsEachRoutesScopeGroupAndCost(t *testing.T) {
	type limit struct {
		Scope models.Scope `json:"scope"`
		Group models.Scope `json:"group"`
		Cost  int64        `json:"cost"`
	}
	var spec struct {
		Paths map[string]map[string]struct {
			Description string
			RateLimit   *limit `json:"x-ratelimit"`
		}
	}
	if err := json.Unmarshal(docs.OpenAPI(), &spec); err != nil {
		t.Fatal(err)
	}
	for _, r := range server.Routes(server.Handlers{}) {
		name := r.Method + " " + pathParameter.ReplaceAllString(r.Path, "{$1}")
		if slices.Contains(notDescribed, r.Method+" "+r.Path) {
			continue
		}
		operation := spec.Paths[pathParameter.ReplaceAllString(r.Path, "{$1}")][strings.ToLower(r.Method)]
		if want := (limit{r.Scope, r.Scope, r.Cost}); operation.RateLimit == nil || *operation.RateLimit != want {
			t.Errorf("%s: x-ratelimit %+v; want %+v", name, operation.RateLimit, want)
		}
		if r.Scope != "" && !strings.Contains(operation.Description, "`"+string(r.Scope)+"` · **Cost:** "+strconv.FormatInt(r.Cost, 10)) {
			t.Errorf("%s: a reader is told %q", name, operation.Description)
		}
	}
}

func TestEveryPropertyAndParameterIsDescribed(t *testing.T) {
	type described struct{ Name, Description string }
	var spec struct {
		Paths map[string]map[string]struct {
			Summary, Description string
			Parameters           []described
		}
		Components struct {
			Schemas map[string]struct {
				Description string
				Properties  map[string]described
			}
		}
	}
	if err := json.Unmarshal(docs.OpenAPI(), &spec); err != nil {
		t.Fatal(err)
	}
	for name, schema := range spec.Components.Schemas {
		if schema.Description == "" {
			t.Errorf("the schema %s isn't described", name)
		}
		for property, d := range schema.Properties {
			if d.Description == "" {
				t.Errorf("%s.%s isn't described", name, property)
			}
		}
	}
	for path, methods := range spec.Paths {
		for method, operation := range methods {
			if operation.Summary == "" || operation.Description == "" {
				t.Errorf("%s %s isn't described", method, path)
			}
			for _, p := range operation.Parameters {
				if p.Description == "" {
					t.Errorf("%s %s: %s isn't described", method, path, p.Name)
				}
			}
		}
	}
}

func TestNoExampleLooksLikeAKey(t *testing.T) {
	if found := regexp.MustCompile(`rl_(live|admin)_[0-9A-Za-z]{12}_[0-9A-Za-z]{20,}`).Find(docs.OpenAPI()); found != nil {
		t.Errorf("the description has %s", found)
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
	browser.Authorize(testkit.BearerAuth, app.key(models.NewKey{Plan: "two"}))
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

func TestAReaderOfTheReferenceSeesEveryOperation(t *testing.T) {
	browser := testkit.NewBrowser(t)
	app := newApp(t)
	browser.OpenReference(app.Base())
	for operation, id := range described(t) {
		if !browser.ReferenceShows(id) {
			t.Errorf("/redoc doesn't show %s", operation)
		}
	}
	browser.Screenshot("reference")
	if faults := browser.Faults(); len(faults) > 0 {
		t.Errorf("faults in the page: %v", faults)
	}
	if hosts := browser.Hosts(); len(hosts) != 1 {
		t.Errorf("the page loaded from %v", hosts)
	}
}

func TestTheRootLeadsToTheDocsAndTheyToEachOther(t *testing.T) {
	app := newApp(t)
	if to := app.Get("/").Want(http.StatusFound).Header.Get("Location"); to != "/docs" {
		t.Errorf("/ leads to %q", to)
	}
	for page, link := range map[string]string{"/docs": `href="/redoc"`, "/redoc": `href="/docs"`} {
		if body := app.Get(page).Want(http.StatusOK).Body; !strings.Contains(string(body), link) {
			t.Errorf("%s has no %s", page, link)
		}
	}
	app.Get("/redoc/no-such-file").Want(http.StatusNotFound)
}

func TestADocsReaderCanDownloadAnInvoice(t *testing.T) {
	browser := testkit.NewBrowser(t)
	app := newApp(t)
	key := app.key(models.NewKey{Plan: "internal"})
	var placed models.Order
	app.As(key).Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&placed)
	browser.OpenDocs(app.Base())
	browser.Authorize(testkit.BearerAuth, key)
	browser.Fill("getInvoice", "id", placed.ID)
	want := app.As(key).Get("/v1/orders/" + placed.ID + "/invoice").Want(http.StatusOK).Body
	if got := browser.Download("getInvoice"); !bytes.Equal(got, want) {
		t.Errorf("%d bytes that begin with %.8q; want the PDF of %d bytes", len(got), got, len(want))
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
