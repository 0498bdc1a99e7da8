package e2e

import (
	"bytes"
	"cmp"
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

// undescribedRoutes serve the description and its pages.
var undescribedRoutes = []string{
	"GET /", "GET /favicon.ico", "GET /guide", "GET /guide/*any", "GET /docs", "GET /swagger/*any", "GET /redoc", "GET /redoc/*any",
	"GET /demo/orders", "GET /demo/orders/*any", "GET /openapi.json",
}

// decodeDescription decodes the parts of the description that out has.
func decodeDescription(t *testing.T, out any) {
	t.Helper()
	if err := json.Unmarshal(docs.OpenAPI(), out); err != nil {
		t.Fatal(err)
	}
}

// describedOperations returns the operationId of each operation, by "METHOD /path/{id}".
func describedOperations(t *testing.T) map[string]string {
	t.Helper()
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	decodeDescription(t, &spec)
	operations := map[string]string{}
	for path, methods := range spec.Paths {
		for method, operation := range methods {
			operations[strings.ToUpper(method)+" "+path] = operation.OperationID
		}
	}
	return operations
}

func TestDescription_routes(t *testing.T) {
	operations := describedOperations(t)
	routes := map[string]bool{}
	for _, r := range server.Routes(server.Handlers{}) {
		routes[r.Method+" "+pathParameter.ReplaceAllString(r.Path, "{$1}")] = true
	}
	for route := range routes {
		if _, ok := operations[route]; !ok && !slices.Contains(undescribedRoutes, route) {
			t.Errorf("%s is not described", route)
		}
	}
	for operation := range operations {
		if !routes[operation] {
			t.Errorf("%s is described, but isn't a route", operation)
		}
	}
}

// The x-ratelimit of an operation must match the route table.
func TestDescription_rate_limit(t *testing.T) {
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
	decodeDescription(t, &spec)
	for _, r := range server.Routes(server.Handlers{}) {
		name := r.Method + " " + pathParameter.ReplaceAllString(r.Path, "{$1}")
		if slices.Contains(undescribedRoutes, r.Method+" "+r.Path) {
			continue
		}
		operation := spec.Paths[pathParameter.ReplaceAllString(r.Path, "{$1}")][strings.ToLower(r.Method)]
		if want := (limit{r.Scope, r.Scope, r.Cost}); operation.RateLimit == nil || *operation.RateLimit != want {
			t.Errorf("%s: got x-ratelimit %+v; want %+v", name, operation.RateLimit, want)
		}
		if r.Scope != "" && !strings.Contains(operation.Description, "`"+string(r.Scope)+"` · **Cost:** "+strconv.FormatInt(r.Cost, 10)) {
			t.Errorf("%s: got description %q; want scope and cost", name, operation.Description)
		}
	}
}

func TestDescription_complete(t *testing.T) {
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
	decodeDescription(t, &spec)
	for name, schema := range spec.Components.Schemas {
		if schema.Description == "" {
			t.Errorf("schema %s has no description", name)
		}
		for property, d := range schema.Properties {
			if d.Description == "" {
				t.Errorf("%s.%s has no description", name, property)
			}
		}
	}
	for path, methods := range spec.Paths {
		for method, operation := range methods {
			if operation.Summary == "" || operation.Description == "" {
				t.Errorf("%s %s has no summary or description", method, path)
			}
			for _, p := range operation.Parameters {
				if p.Description == "" {
					t.Errorf("%s %s: %s has no description", method, path, p.Name)
				}
			}
		}
	}
}

func TestDescription_contains_no_keys(t *testing.T) {
	if found := regexp.MustCompile(`rl_(live|admin)_[0-9A-Za-z]{12}_[0-9A-Za-z]{20,}`).Find(docs.OpenAPI()); found != nil {
		t.Errorf("the description contains %s", found)
	}
}

func TestSwaggerUI_operations(t *testing.T) {
	browser := testkit.NewBrowser(t)
	app := newApp(t)
	app.plan("two", `[{"name":"two","algorithm":"fixed_window","limit":2,"period":"1h"}]`)
	browser.OpenDocs(app.Base())
	for operation, id := range describedOperations(t) {
		if !browser.ShowsOperation(id) {
			t.Errorf("/docs doesn't show %s", operation)
		}
	}
	browser.Authorize(testkit.BearerAuth, app.key(models.NewKey{Plan: "two"}))
	for left := 1; left >= 0; left-- {
		response := browser.TryOperation("listProducts")
		if response.Status != "200" || !strings.Contains(response.Body, "Espresso cups") ||
			!strings.Contains(response.Headers, fmt.Sprintf(`ratelimit: "two";r=%d;`, left)) {
			t.Fatalf("got response %+v; want 200 with r=%d", response, left)
		}
	}
	if response := browser.TryOperation("listProducts"); response.Status != "429" || !strings.Contains(response.Headers, "retry-after") {
		t.Errorf("got response %+v; want 429", response)
	}
	if faults := browser.Faults(); len(faults) > 1 { // the browser reports the 429
		t.Errorf("errors of the page: %v", faults)
	}
	if hosts := browser.Hosts(); len(hosts) != 1 {
		t.Errorf("the page contacted hosts %v; want only its own", hosts)
	}
}

func TestReDoc_operations(t *testing.T) {
	browser := testkit.NewBrowser(t)
	app := newApp(t)
	browser.OpenReference(app.Base())
	for operation, id := range describedOperations(t) {
		if !browser.ReferenceShows(id) {
			t.Errorf("/redoc doesn't show %s", operation)
		}
	}
	browser.Screenshot("reference")
	if faults := browser.Faults(); len(faults) > 0 {
		t.Errorf("errors of the page: %v", faults)
	}
	if hosts := browser.Hosts(); len(hosts) != 1 {
		t.Errorf("the page contacted hosts %v; want only its own", hosts)
	}
}

func TestDocs_links(t *testing.T) {
	app := newApp(t)
	if to := app.Get("/").Want(http.StatusFound).Header.Get("Location"); to != "/guide/" {
		t.Errorf("/ redirects to %q; want /guide/", to)
	}
	for page, link := range map[string]string{"/docs": `href="/redoc"`, "/redoc": `href="/docs"`, "/guide/": `href="/docs"`, "/guide/following-orders": `/demo/orders"`} {
		if body := app.Get(page).Want(http.StatusOK).Body; !strings.Contains(string(body), link) {
			t.Errorf("%s doesn't contain %s", page, link)
		}
	}
	app.Get("/redoc/no-such-file").Want(http.StatusNotFound)
	if got := app.Get("/guide/no-such-page").Want(http.StatusNotFound); !strings.Contains(string(got.Body), "There is no page here") {
		t.Errorf("/guide/no-such-page: got %s; want a page of the guide", got.Body)
	}
}

func TestSwaggerUI_download(t *testing.T) {
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
		t.Errorf("got %d bytes %.8q…; want the PDF of %d bytes", len(got), got, len(want))
	}
}

func TestDescription_served(t *testing.T) {
	app := newApp(t)
	response := app.Get("/openapi.json").Want(http.StatusOK)
	if string(response.Body) != string(docs.OpenAPI()) {
		t.Error("/openapi.json differs from the embedded description")
	}
	app.Get("/openapi.json", "If-None-Match", response.Header.Get("ETag")).Want(http.StatusNotModified)
	if got := app.Get("/swagger/no-such-file").Want(http.StatusNotFound); !strings.Contains(string(got.Body), `"status":404`) {
		t.Errorf("got body %s; want a problem", got.Body)
	}
}

func TestDescription_schema_names(t *testing.T) {
	type content map[string]struct {
		Schema struct {
			Ref string `json:"$ref"`
		} `json:"schema"`
	}
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			RequestBody struct {
				Content content `json:"content"`
			} `json:"requestBody"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]struct {
				Enum []string `json:"enum"`
			} `json:"schemas"`
		} `json:"components"`
	}
	decodeDescription(t, &spec)
	shared := map[string]string{"reserveLimit": "CheckLimitRequest", "rotateMe": "RotateKeyRequest"}
	var bodies int
	for path, methods := range spec.Paths {
		for _, operation := range methods {
			for mediaType, body := range operation.RequestBody.Content {
				bodies++
				want := cmp.Or(shared[operation.OperationID], strings.ToUpper(operation.OperationID[:1])+operation.OperationID[1:]+"Request")
				if got := strings.TrimPrefix(body.Schema.Ref, "#/components/schemas/"); got != want {
					t.Errorf("%s %s: the request body is called %q; want %s", path, mediaType, got, want)
				}
			}
		}
	}
	if bodies < 10 {
		t.Errorf("got %d request bodies", bodies)
	}
	var enums []string
	for name, schema := range spec.Components.Schemas {
		if schema.Enum != nil {
			enums = append(enums, name)
		}
	}
	slices.Sort(enums)
	want := "EventType KeyStatus OrderStatus PolicyAlgorithm PolicyCharge PolicyMode PolicyOrigin PolicyPer PolicySharing Scope UsageBucket"
	if got := strings.Join(enums, " "); got != want {
		t.Errorf("got enums %s; want %s", got, want)
	}
}
