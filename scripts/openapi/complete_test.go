package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestVersionServerAndSchemes(t *testing.T) {
	doc := sampleSpec(t)
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi is %q, want 3.1.0", doc.OpenAPI)
	}
	if len(doc.Servers) != 1 || doc.Servers[0].URL != "/" {
		t.Errorf("servers are %v, want / alone", doc.Servers)
	}
	bearer := doc.Components.SecuritySchemes["BearerAuth"].Value
	if bearer.Type != "http" || bearer.Scheme != "bearer" {
		t.Errorf("BearerAuth is %s %s, want http bearer", bearer.Type, bearer.Scheme)
	}
	header := doc.Components.SecuritySchemes["ApiKeyAuth"].Value
	if header.Type != "apiKey" || header.In != "header" || header.Name != "X-API-Key" {
		t.Errorf("ApiKeyAuth is %s in %s %s, want apiKey in header X-API-Key", header.Type, header.In, header.Name)
	}
}

func TestEitherWayToSendAKeySuffices(t *testing.T) {
	doc := sampleSpec(t)
	for id, op := range operations(doc) {
		var ways []string
		for _, way := range *op.Security {
			ways = append(ways, strings.Join(slices.Sorted(maps.Keys(way)), "+"))
		}
		want := []string{"BearerAuth", "ApiKeyAuth"}
		if id == "livez" {
			want = nil
		}
		if !slices.Equal(ways, want) {
			t.Errorf("%s: security is %q, want %q", id, ways, want)
		}
	}
}

func TestStatusesAndTheirShapes(t *testing.T) {
	doc := sampleSpec(t)
	want := map[string]string{
		"listProducts":  "200 304 400 401 403 406 422 429 500 503",
		"createProduct": "201 400 401 403 406 409 413 415 422 429 500 503",
		"changeProduct": "204 400 401 403 409 413 415 422 429 500 503",
		"getProduct":    "200 400 401 403 404 406 429 500 503",
		"livez":         "200 503",

		"getProductSheet": "200 400 401 403 404 406 429 500 503",
	}
	for id, op := range operations(doc) {
		codes := slices.Sorted(maps.Keys(op.Responses.Map()))
		if got := strings.Join(codes, " "); got != want[id] {
			t.Errorf("%s: statuses are %s, want %s", id, got, want[id])
		}
		for _, code := range codes {
			checkResponse(t, id+" "+code, op.Responses.Value(code).Value, code >= "400", len(*op.Security) > 0)
		}
	}
}

func checkResponse(t *testing.T, what string, response *openapi3.Response, failed, secured bool) {
	t.Helper()
	if response.Headers["X-Request-Id"] == nil {
		t.Errorf("%s: no X-Request-Id", what)
	}
	types := slices.Sorted(maps.Keys(response.Content))
	if !failed {
		want := map[string]string{"changeProduct 204": "", "listProducts 304": "", "getProductSheet 200": "application/pdf"}
		mediaType, special := want[what]
		if !special {
			mediaType = "application/json"
		}
		if got := strings.Join(types, ", "); got != mediaType {
			t.Errorf("%s: media types are %q, want %s", what, got, mediaType)
		}
		if limited := response.Headers["RateLimit"] != nil && response.Headers["RateLimit-Policy"] != nil; limited != secured {
			t.Errorf("%s: limit headers declared is %v, want %v", what, limited, secured)
		}
		return
	}
	if !slices.Equal(types, []string{"application/problem+json"}) {
		t.Fatalf("%s: media types are %q, want application/problem+json", what, types)
	}
	_, status, _ := strings.Cut(what, " ")
	want := map[string]string{"422": "ValidationProblem", "429": "QuotaProblem"}[status]
	if ref := response.Content["application/problem+json"].Schema.Ref; ref != "#/components/schemas/"+cmp.Or(want, "Problem") {
		t.Errorf("%s: schema is %q, want %s", what, ref, cmp.Or(want, "Problem"))
	}
	for name, statuses := range map[string]string{"Retry-After": "429 503", "WWW-Authenticate": "401"} {
		if there := response.Headers[name] != nil; there != strings.Contains(statuses, status) {
			t.Errorf("%s: %s is declared: %v", what, name, there)
		}
	}
}

func TestWhatIsAlwaysThereIsRequired(t *testing.T) {
	ops := operations(sampleSpec(t))
	for where, required := range map[string]bool{
		"createProduct 201 Location": true, "createProduct 201 RateLimit": false, "createProduct 201 X-Request-Id": true,
		"listProducts 200 ETag": true, "listProducts 304 ETag": true, "listProducts 200 Cache-Control": true, "listProducts 304 Cache-Control": true,
		"listProducts 200 Link": false, "listProducts 304 Link": false, "createProduct 409 Link": false, "listProducts 503 X-RateLimit-Reset": false,
		"listProducts 401 WWW-Authenticate": true, "listProducts 503 Retry-After": true, "listProducts 429 Retry-After": false,
	} {
		part := strings.Fields(where)
		header := ops[part[0]].Responses.Value(part[1]).Value.Headers[part[2]]
		if header == nil || header.Value.Required != required {
			t.Errorf("%s is %+v; required: %v", where, header, required)
		}
	}
}

func TestWhatIsChangedUnderIfMatchAnswersWithItsTag(t *testing.T) {
	shared, err := loadShared()
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]bool{"If-Match": true, "if-match": true, "X-Other": false} {
		op := &openapi3.Operation{Parameters: openapi3.Parameters{{Value: openapi3.NewHeaderParameter(header)}}}
		full := openapi3.NewResponse().WithContent(openapi3.NewContentWithJSONSchema(openapi3.NewObjectSchema()))
		empty := openapi3.NewResponse()
		addSuccessHeaders(op, "200", full, shared)
		addSuccessHeaders(op, "204", empty, shared)
		if got := full.Headers["ETag"] != nil; got != want || empty.Headers["ETag"] != nil || full.Headers["Cache-Control"] != nil {
			t.Errorf("%s: ETag is described: %v", header, got)
		}
	}
}

func TestAMergePatchIsTakenWherePatchIs(t *testing.T) {
	content := operations(sampleSpec(t))["changeProduct"].RequestBody.Value.Content
	if got := slices.Sorted(maps.Keys(content)); !slices.Equal(got, []string{"application/json", "application/merge-patch+json"}) {
		t.Errorf("media types are %q", got)
	}
}

func TestErrorsAreSharedUnlessTheHandlerSaysMore(t *testing.T) {
	ops := operations(sampleSpec(t))
	if ref := ops["getProduct"].Responses.Value("404").Ref; ref != "#/components/responses/NotFound" {
		t.Errorf("the plain 404 is %q, want the shared NotFound", ref)
	}
	conflict := ops["createProduct"].Responses.Value("409")
	if conflict.Ref != "" || *conflict.Value.Description != "The name is taken" {
		t.Errorf("the 409 is %q %q, want the handler's own words", conflict.Ref, *conflict.Value.Description)
	}
	if conflict.Value.Headers["Link"] == nil || conflict.Value.Headers["X-Request-Id"] == nil {
		t.Errorf("headers of 409 are %q, want the handler's Link beside the shared ones", slices.Collect(maps.Keys(conflict.Value.Headers)))
	}
	created := ops["createProduct"].Responses.Value("201").Value
	if created.Headers["Location"] == nil || created.Headers["RateLimit"] == nil {
		t.Errorf("headers of 201 are %q, want the handler's Location beside the shared ones", slices.Collect(maps.Keys(created.Headers)))
	}
}

func TestEveryErrorResponseIsShared(t *testing.T) {
	shared, err := loadShared()
	if err != nil {
		t.Fatal(err)
	}
	for status, name := range errorResponses {
		if shared.Responses[name] == nil {
			t.Errorf("shared.json lacks %s for %d", name, status)
		}
	}
	for _, status := range slices.Concat(securedErrors, bodyErrors) {
		if errorResponses[status] == "" {
			t.Errorf("%d is filled in, but has no name", status)
		}
	}
	if err := validate(sharedJSON); err != nil {
		t.Errorf("shared.json: %v", err)
	}
}

// operations returns the document's operations by id.
func operations(doc *openapi3.T) map[string]*openapi3.Operation {
	ops := map[string]*openapi3.Operation{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			ops[op.OperationID] = op
		}
	}
	return ops
}
