package contract

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const sample = `{
	"openapi": "3.1.0",
	"paths": {
		"/things/{id}": {"get": {
			"operationId": "getThing",
			"parameters": [
				{"name": "id", "in": "path", "required": true, "schema": {"type": "string", "maxLength": 5}},
				{"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
				{"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}},
				{"name": "since", "in": "query", "schema": {"type": "string", "format": "date-time"}},
				{"name": "X-Must", "in": "header", "required": true, "schema": {"type": "string"}}
			],
			"responses": {
				"200": {
					"headers": {"ETag": {"required": true, "schema": {"type": "string", "pattern": "^\"[0-9]+\"$"}}, "Age": {"schema": {"type": "integer"}}},
					"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
				},
				"304": {},
				"404": {"$ref": "#/components/responses/NotFound"}
			}
		}},
		"/things/new": {"post": {"operationId": "new", "responses": {}}},
		"/things/all": {"get": {"operationId": "all", "responses": {"200": {"content": {"text/plain": {}}}}}},
		"/things": {"post": {
			"operationId": "makeThing",
			"requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
			"responses": {"201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}, "422": {"$ref": "#/components/responses/NotFound"}}
		}}
	},
	"components": {
		"responses": {"NotFound": {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}},
		"schemas": {
			"Thing": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "part": {"anyOf": [{"$ref": "#/components/schemas/Thing"}, {"type": "null"}]}}},
			"Problem": {"type": "object", "required": ["status"], "properties": {"status": {"type": "integer"}, "code": {"type": "string", "x-extensible-enum": ["known"]}}}
		}
	}
}`

// exchange parses "METHOD URL, Name: value | body => status, Name: value | body".
// Headers and bodies are optional.
func exchange(t *testing.T, line string) Exchange {
	t.Helper()
	request, response, _ := strings.Cut(line, "=>")
	begin, body, _ := strings.Cut(request, "|")
	words := strings.Split(strings.TrimSpace(begin), ", ")
	method, target, _ := strings.Cut(words[0], " ")
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	e := Exchange{Method: method, URL: u, RequestHeader: headers(words[1:]), RequestBody: []byte(strings.TrimSpace(body))}
	begin, body, _ = strings.Cut(response, "|")
	words = strings.Split(strings.TrimSpace(begin), ", ")
	for _, digit := range words[0] {
		e.Status = e.Status*10 + int(digit-'0')
	}
	e.Header, e.Body = headers(words[1:]), []byte(strings.TrimSpace(body))
	return e
}

func headers(lines []string) http.Header {
	header := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
	}
	return header
}

func TestContract_Check(t *testing.T) {
	c, err := Load([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	const get, ok = "GET /things/1, X-Must: y => ", `200, ETag: "1", Content-Type: application/json; charset=utf-8 | {"id":"1"}`
	for line, want := range map[string]string{
		get + ok: "",
		`GET /things/1?limit=2&tag=a&tag=b&since=2026-01-01T00:00:00Z&other=1, X-Must: y => ` + ok:     "",
		`GET /things/all => 200, Content-Type: text/plain | {`:                                         "",
		`HEAD /things/1, X-Must: y => 200, ETag: "1", Content-Type: application/json`:                  "",
		`GET /things/1 => 404, Content-Type: application/problem+json | {"status":404}`:                "",
		`GET /nowhere => 404, Content-Type: application/problem+json | {"status":404}`:                 "",
		`PUT /things => 405, Allow: POST, Content-Type: application/problem+json | {"status":405}`:     "",
		`GET /things/new => 405, Allow: POST, Content-Type: application/problem+json | {"status":405}`: "", // not an operation of /things/{id}
		`GET /things/1 => 304`: "",
		`POST /things, Content-Type: application/json | {"id":"1","part":{"id":"2","part":null}} => 201, Content-Type: application/json | {"id":"1"}`: "",
		`POST /things, Content-Type: application/json | {"no":1} => 422, Content-Type: application/problem+json | {"status":422}`:                     "",

		get + `500, Content-Type: application/problem+json | {"status":500}`:                           "doesn't describe status 500",
		get + `200, ETag: "1", Content-Type: application/json | {"id":"1","more":2}`:                   "more",
		get + `200, ETag: "1", Content-Type: application/json | {"id":"1","part":{"id":"2","more":2}}`: "more",
		get + `200, ETag: "1", Content-Type: application/json | {}`:                                    "id",
		get + `200, ETag: "1", Content-Type: application/json | {"id":1}`:                              "want string",
		get + `200, ETag: "1", Content-Type: application/json | {"id":"1"}{}`:                          "not JSON",
		get + `200, ETag: "1", Content-Type: text/html | {"id":"1"}`:                                   "text/html",
		get + `200, ETag: "1" | {"id":"1"}`:                                                            `Content-Type ""`,
		get + `200, Content-Type: application/json | {"id":"1"}`:                                       "ETag is required",
		get + `200, ETag: 1, Content-Type: application/json | {"id":"1"}`:                              "pattern",
		get + `200, ETag: "1", Age: old, Content-Type: application/json | {"id":"1"}`:                  "Age",
		get + `304 | x`: "undescribed body",
		get + `304, Date: today, Vary: Origin, Access-Control-Allow-Origin: *, Cache-Control: no-store`: "",
		get + `304, Cache-Control: private`: `Cache-Control (["private"]) isn't described`,
		get + `304, Age: 1`:                 "Age",
		get + `304, Ratelimit: x`:           "Ratelimit",
		`GET /nowhere => 404, Location: /, X-Request-Id: x, Content-Type: application/problem+json | {"status":404}`: "Location",
		`GET /nowhere => 404, Allow: GET, Content-Type: application/problem+json | {"status":404}`:                   "Allow",
		`HEAD /things/1, X-Must: y => 200, Content-Type: application/json`:                                           "ETag is required",
		`GET /things/1 => ` + ok:                                           "X-Must is required but missing",
		`GET /things/123456, X-Must: y => ` + ok:                           "path parameter id",
		`GET /things/1?limit=0, X-Must: y => ` + ok:                        "query parameter limit",
		`GET /things/1?limit=x, X-Must: y => ` + ok:                        "query parameter limit",
		`GET /things/1?limit=1&limit=2, X-Must: y => ` + ok:                "2 times",
		`GET /things/1?tag=c, X-Must: y => ` + ok:                          "query parameter tag",
		`GET /things/1?since=today, X-Must: y => ` + ok:                    "query parameter since",
		`GET /things/1, X-Must: y | x => ` + ok:                            "an undescribed body",
		`POST /things => 201, Content-Type: application/json | {"id":"1"}`: "without the required body",
		`POST /things, Content-Type: application/json | {"no":1} => 201, Content-Type: application/json | {"id":"1"}`: "accepted although the request",
		`POST /things, Content-Type: text/plain | {"id":"1"} => 201, Content-Type: application/json | {"id":"1"}`:     "accepted although the request has media type text/plain",
		`GET /nowhere => 200`: "unknown operation",
		`GET /nowhere => 404, Content-Type: application/problem+json | {"status":404,"more":1}`:     "more",
		`GET /nowhere => 404, Content-Type: application/problem+json | {"status":404,"code":"new"}`: "known",
		`PUT /things => 405, Content-Type: application/problem+json | {"status":405}`:               "Allow",
	} {
		err := c.Check(exchange(t, line))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  got error %v; want %q", line, err, want)
		}
	}
}

func TestLoad_invalid(t *testing.T) {
	for description, want := range map[string]string{
		`[]`: "cannot unmarshal array",
		`{`:  "unexpected end",
		`{"paths":{"/a":{"get":{"responses":{"200":{"$ref":"#/components/responses/X"}}}}},"components":{"schemas":{"Problem":{}}}}`: "responses/X",
		`{"paths":{}}`: "Problem",
	} {
		if _, err := Load([]byte(description)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s): got error %v; want %q", description, err, want)
		}
	}
}
