package binding

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// everything is an input with fields of every kind.
type everything struct {
	ID      string `uri:"id" pattern:"^[a-z]+$"`
	Page    part
	Since   *Time    `form:"since"`
	State   string   `form:"state" enums:"on,off"`
	Version tagLines `header:"If-Match"`
	Trace   string   `header:"X-Trace" maxLength:"3"`
	Body    small    `body:"optional"`

	preset string // not bound
}

type part struct {
	Limit int `form:"limit" minimum:"1" maximum:"100" default:"20"`

	twice int
}

func (p *part) Validate(faults *models.Faults) {
	p.twice = 2 * p.Limit
	if p.Limit == 13 {
		faults.AddFault(models.Fault{Source: models.SourceQuery, Path: []string{"limit"}, Code: "luck", Message: "must not be 13"})
	}
}

type small struct {
	Name   string            `json:"name" validate:"required" minLength:"2" pattern:"^\\S+$" says:"must be one word"`
	Count  int64             `json:"count" default:"7" maximum:"9"`
	Grade  Optional[string]  `json:"grade" enums:"a,b"`
	Until  Optional[*Time]   `json:"until"`
	Tags   []string          `json:"tags" maxItems:"2"`
	Mark   string            `json:"mark" pattern:"\\S"`
	Labels map[string]string `json:"labels" maxItems:"4" minName:"1" maxName:"2" maxLength:"3"`
}

// tagLines holds the lines of a header field.
type tagLines []string

func (l *tagLines) ParseLines(lines []string) (code, message string) {
	if lines[0] == "bad" {
		return "tag", "must be good"
	}
	*l = lines
	return "", ""
}

// bindEverything binds a request to everything.
func bindEverything(target, id, body string, header ...string) (everything, error) {
	c := contextOf(http.MethodPost, target, []byte(body), append(header, "Content-Type", JSON)...)
	c.Params = gin.Params{{Key: "id", Value: id}}
	return Bind(c, everything{preset: "mine"}, JSON)
}

// faultsIn lists the faults of err as "location path:code".
func faultsIn(err error) string {
	var invalid *models.Error
	if !errors.As(err, &invalid) {
		return "no faults"
	}
	var list []string
	for _, f := range invalid.Faults {
		list = append(list, string(f.Source)+" "+pathOf(f)+":"+f.Code)
	}
	return strings.Join(list, ", ")
}

// pathOf returns the path of a fault, with a slash before each name of a body path.
func pathOf(f models.Fault) string {
	if f.Source != models.SourceBody {
		return strings.Join(f.Path, "/")
	}
	var b strings.Builder
	for _, name := range f.Path {
		b.WriteString("/" + name)
	}
	return b.String()
}

func TestBind_all_sources(t *testing.T) {
	in, err := bindEverything("/?limit=5&since=2026-01-15T10:30:00%2B01:00&state=on", "abc",
		`{"name":"mug","count":2.0,"grade":"a","until":null,"tags":[]}`, "If-Match", `"1"`, "If-Match", `"2"`, "X-Trace", "äöü")
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC)
	if in.ID != "abc" || in.Page.Limit != 5 || in.Page.twice != 10 || !in.Since.Std().Equal(since) || in.State != "on" ||
		len(in.Version) != 2 || in.Trace != "äöü" || in.preset != "mine" {
		t.Errorf("got %+v", in)
	}
	b := in.Body
	if b.Name != "mug" || b.Count != 2 || b.Grade != (Optional[string]{true, "a"}) || !b.Until.Present || b.Until.Value != nil || b.Tags == nil {
		t.Errorf("got %+v", b)
	}
}

func TestBind_defaults(t *testing.T) {
	in, err := bindEverything("/", "abc", `{"name":"mug"}`)
	if err != nil {
		t.Fatal(err)
	}
	if in.Page.Limit != 20 || in.Since != nil || in.State != "" || in.Version != nil || in.Body.Count != 7 || in.Body.Grade.Present {
		t.Errorf("got %+v", in)
	}
}

func TestBind_faults(t *testing.T) {
	for name, test := range map[string]struct {
		target, id, body string
		header           []string
		want             string
	}{
		"all sources": {
			"/?limit=x&since=now&state=maybe", "A1", `{"name":"","count":10,"grade":"c","tags":["a","b","c"],"nam":1}`,
			[]string{"If-Match", "bad", "X-Trace", "long"},
			"path id:pattern, query limit:type, query since:time, query state:enum, header If-Match:tag, header X-Trace:max_length, " +
				"body /name:min_length, body /count:max, body /grade:enum, body /tags:max_items, body /nam:unknown",
		},
		"bounds":        {"/?limit=101", "a", `{"name":"a b"}`, nil, "query limit:max, body /name:pattern"},
		"empty values":  {"/?limit=&since=&state=", "a", "", []string{"X-Trace", ""}, "query limit:type, query since:time, query state:enum, body /name:required"},
		"Validate":      {"/?limit=13", "a", `{"name":"mug"}`, nil, "query limit:luck"},
		"repeated":      {"/?limit=1&limit=2", "a", `{"name":"mug"}`, []string{"X-Trace", "a", "X-Trace", "b"}, "query limit:duplicate, header X-Trace:duplicate"},
		"invalid text":  {"/?state=%ff", "a", `{"name":"m\u0000g"}`, []string{"X-Trace", "\x00"}, "query state:utf8, header X-Trace:nul, body /name:nul"},
		"null":          {"/", "a", `{"name":null,"count":null,"grade":null}`, nil, "body /name:null, body /count:null, body /grade:null"},
		"fractions":     {"/?limit=1.0", "a", `{"name":"mug","count":1.5}`, nil, "query limit:type, body /count:type"},
		"blank":         {"/", "a", `{"name":"mug","mark":"\u00a0\u2003"}`, nil, "body /mark:pattern"},
		"control":       {"/", "a", `{"name":"m\u202eg","labels":{"a\u007f":"b"}}`, nil, "body /name:control, body /labels/a\x7f:control"},
		"invisible":     {"/", "a", `{"name":"m\u200bg","mark":"x\u2028","labels":{"a":"\ufeff","\u200f":"b","c":"\udb40\udc41"}}`, nil, "body /name:control, body /mark:control, body /labels/a:control, body /labels/\u200f:control, body /labels/c:control"},
		"NUL in a name": {"/", "a", `{"name":"mug","labels":{"a\u0000":"b"}}`, nil, "body /labels/a\x00:nul"},
		"map":           {"/", "a", `{"name":"mug","labels":{"":"a","abc":"a","b":"abcd","c":"abc","d":null}}`, nil, "body /labels/d:null, body /labels/:min_name, body /labels/abc:max_name, body /labels/b:max_length, body /labels:max_items"},
		"too precise":   {"/", "a", `{"name":"mug","count":9007199254740993.0}`, nil, "body /count:type"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bindEverything(test.target, test.id, test.body, test.header...)
			if got := faultsIn(err); got != test.want {
				t.Errorf("got faults %s\n  want %s", got, test.want)
			}
		})
	}
}

func TestBind_fault_messages(t *testing.T) {
	for body, want := range map[string]string{
		`{"name":"mug","cuont":1}`:   `did you mean "count"?`,
		`{"name":"mug","Count":1}`:   `did you mean "count"? Names are case-sensitive`,
		`{"name":"mug","cnt":1}`:     "/cnt: is not a known field",
		`{"name":"mug","grde":"a"}`:  `did you mean "grade"?`,
		`{"name":"m"}`:               "must have at least 2 characters",
		`{"name":"a b"}`:             "must be one word",
		`{"name":"mug","count":"1"}`: "/count: must be a whole number",
	} {
		if _, err := bindEverything("/", "a", body); err == nil || !strings.Contains("/"+err.Error(), want) {
			t.Errorf("%s: got error %v; want %q", body, err, want)
		}
	}
}

func TestBind_invalid_query_encoding(t *testing.T) {
	c := contextOf(http.MethodGet, "/", nil)
	c.Request.URL = &url.URL{Path: "/", RawQuery: "limit=%zz"}
	_, err := Bind(c, part{}, JSON)
	var status *Error
	if !errors.As(err, &status) || status.status != http.StatusBadRequest {
		t.Errorf("got error %v; want a 400", err)
	}
}

func TestBind_not_acceptable(t *testing.T) {
	for accept, acceptable := range map[string]bool{
		"":                               true,
		"*/*":                            true,
		"application/json":               true,
		"application/*;q=0.1":            true,
		"text/html, application/json":    true,
		"text/html, */*;q=0.1":           true,
		"application/json;charset=utf-8": true,
		"nonsense":                       true, // invalid values are ignored
		" ":                              true, // an empty list excludes nothing
		"text/html":                      false,
		"text/*, image/png":              false,
		"application/json;q=0":           false,
		"application/json;q=0, */*":      false, // the more specific range applies
		"application/pdf":                false,
	} {
		var header []string
		if accept != "" {
			header = []string{"Accept", accept}
		}
		_, err := Bind(contextOf(http.MethodGet, "/", nil, header...), part{}, JSON)
		var status *Error
		if refused := errors.As(err, &status) && status.status == http.StatusNotAcceptable; refused == acceptable {
			t.Errorf("Accept: %s: got error %v; want acceptable %t", accept, err, acceptable)
		}
	}
	lines := contextOf(http.MethodGet, "/", nil, "Accept", "text/html", "Accept", "application/json")
	if _, err := Bind(lines, part{}, JSON); err != nil {
		t.Errorf("list over two lines: got error %v", err)
	}
	if _, err := Bind(contextOf(http.MethodDelete, "/", nil, "Accept", "text/html"), part{}); err != nil {
		t.Errorf("operation without a response body: got error %v", err)
	}
}

// FuzzBind checks that every input is either valid or rejected with complete
// faults.
func FuzzBind(f *testing.F) {
	f.Add("limit=5&state=on&since=2026-01-15T09:30:00Z", `"1"`, "abc", `{"name":"mug","count":1e0,"until":null}`)
	f.Add("limit=&limit=&state=%00", "", "x", `{"tags":[null,{}]}`)
	f.Fuzz(func(t *testing.T, query, header, accept, body string) {
		c := contextOf(http.MethodPost, "/", []byte(body), "Content-Type", JSON, "X-Trace", header, "If-Match", header, "Accept", accept)
		c.Request.URL.RawQuery = query
		c.Params = gin.Params{{Key: "id", Value: "abc"}}
		in, err := Bind(c, everything{}, JSON)
		var invalid *models.Error
		switch {
		case errors.As(err, &invalid):
			for _, fault := range invalid.Faults {
				if fault.Source == "" || fault.Code == "" || fault.Message == "" {
					t.Errorf("incomplete fault %+v", fault)
				}
			}
		case err != nil:
			if !errors.As(err, new(*Error)) {
				t.Fatalf("got error %v of type %[1]T", err)
			}
		case in.Page.Limit < 1 || in.Page.Limit > 100 || in.Body.Count > 9 || len(in.Body.Tags) > 2 ||
			len([]rune(in.Trace)) > 3 || len(in.Body.Name) < 2 || !in.Body.Grade.Present && in.Body.Grade.Value != "":
			t.Fatalf("query %q, body %q: got %+v", query, body, in)
		}
	})
}

func TestTime_ParseText(t *testing.T) {
	for text, valid := range map[string]bool{
		"2000-01-01T00:00:00Z":           true,
		"2999-12-31T23:59:59.999999Z":    true,
		"2000-01-01T00:30:00+01:00":      false, // 1999 in UTC
		"3000-01-01T00:00:00Z":           false,
		"1999-12-31T23:59:59.999999999Z": false,
		"2026-01-15T09:30:00":            false,
		"2026-01-15":                     false,
		"2026-01-15T9:30:00Z":            false,
		"2026-01-15T09:30:00,5Z":         false,
		"2026-01-15T09:30:00+24:00":      false,
	} {
		var instant Time
		if code, _ := instant.ParseText(text); (code == "") != valid {
			t.Errorf("ParseText(%q): got code %q; want valid %t", text, code, valid)
		}
	}
	var instant Time
	_, _ = instant.ParseText("2026-01-15T09:30:00.123456789+01:00")
	if got := instant.Std().Format(time.RFC3339Nano); got != "2026-01-15T08:30:00.123456Z" {
		t.Errorf("got %s; want microseconds in UTC, as in Postgres", got)
	}
}

func TestBind_invalid_values_are_absent(t *testing.T) {
	in, err := bindEverything("/?since=now", "a", `{"name":"mug","until":"then"}`)
	if faultsIn(err) != "query since:time, body /until:time" || in.Since != nil || in.Body.Until.Value != nil {
		t.Errorf("got faults %s and %+v", faultsIn(err), in)
	}
}

func TestBind_optional_body(t *testing.T) {
	type optionalBody struct {
		Body struct {
			Name string `json:"name" default:"none"`
		} `body:"optional"`
	}
	for body, want := range map[string]string{"": "none", `{"name":"mug"}`: "mug"} {
		c := contextOf(http.MethodPost, "/", []byte(body), "Content-Type", JSON)
		c.Request.ContentLength = -1 // chunked
		if in, err := Bind(c, optionalBody{}, JSON); err != nil || in.Body.Name != want {
			t.Errorf("body %q: got name %q, error %v; want %q", body, in.Body.Name, err, want)
		}
	}
}

func TestBind_unsupported_field_type(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a bool parameter: want a panic, also without a value")
		}
	}()
	_, _ = Bind(contextOf(http.MethodGet, "/", nil), struct {
		Deep bool `form:"deep"`
	}{}, JSON)
}
