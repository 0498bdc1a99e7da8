package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheRouteTableStandsOnEveryOperation(t *testing.T) {
	ops := operations(sampleSpec(t))
	for id, want := range map[string]string{
		"listProducts":  `{"scope":"products:read","group":"products:read","cost":1}`,
		"createProduct": `{"scope":"products:write","group":"products:write","cost":5}`,
		"getProduct":    `{"scope":"products:read","group":"","cost":0}`,
		"livez":         `{"scope":"","group":"","cost":0}`,
	} {
		var got, wanted rateLimit
		data, _ := json.Marshal(ops[id].Extensions[rateLimitKey])
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want), &wanted); err != nil || got != wanted {
			t.Errorf("%s: %+v, want %+v (%v)", id, got, wanted, err)
		}
	}
	if got := ops["createProduct"].Description; !strings.Contains(got, "`products:write`") || !strings.Contains(got, "5") {
		t.Errorf("a reader is told %q", got)
	}
}

func TestWhatTheGeneratorCannotReadInTheTableIsAnError(t *testing.T) {
	types := &goTypes{constants: map[string]string{"models.A": "a"}}
	for table, says := range map[string]string{
		`var r = []route{{http.MethodGet, "/a", f, models.A, models.A, 1}}`:       "",
		`var r = []route{{http.MethodGet, "/a", f, models.B, models.A, 1}}`:       `"models.B"`,
		`var r = []route{{http.MethodGet, "/a", f, models.A, models.A, cost}}`:    "number",
		`var r = []route{{verb, "/a", f, models.A, models.A, 1}}`:                 "method",
		`var r = []route{{http.MethodGet, prefix + "/a", f, "", "", 1}}`:          "path",
		`var r = []route{list("/a")}`:                                             "literal",
		`var r = []int{1}`:                                                        "no route",
		`const get = http.MethodGet; var r = []route{{method: get, path: "/:a"}}`: "",
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "routes.go"), []byte("package main\n"+table+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := readRouteTable(source{root: root}, types)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v; want one that says %q", table, err, says)
		}
	}
}

func TestAnOperationWithoutARouteIsAnError(t *testing.T) {
	doc := sampleSpec(t)
	table := map[string]rateLimit{"get /v1/products": {}}
	if err := addRateLimits(doc, table); err == nil || !strings.Contains(err.Error(), "POST /v1/products") || strings.Contains(err.Error(), "GET /v1/products ") {
		t.Errorf("error %v", err)
	}
}
