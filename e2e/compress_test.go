package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratelimiter/docs"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

const acceptEncoding = "Accept-Encoding"

// plain returns the decompressed body.
func plain(t *testing.T, response *testkit.Response) []byte {
	t.Helper()
	if response.Header.Get("Content-Encoding") == "" {
		return response.Body
	}
	reader, err := gzip.NewReader(bytes.NewReader(response.Body))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCompress_negotiation(t *testing.T) {
	caller := newApp(t).caller("internal")
	list := caller.Get("/v1/products", acceptEncoding, "identity").Want(http.StatusOK)
	for accepted, want := range map[string]string{
		"gzip": "gzip", "br, gzip;q=0.5": "gzip", "gzip;q=0": "", "identity": "", "br": "", "deflate, gzip;q=1.0, *;q=0.5": "gzip", "zstd": "",
	} {
		response := caller.Get("/v1/products", acceptEncoding, accepted).Want(http.StatusOK)
		if got := response.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%s: got Content-Encoding %q; want %q", accepted, got, want)
		}
		if string(plain(t, response)) != string(list.Body) {
			t.Errorf("%s: got body %s; want the uncompressed one", accepted, plain(t, response))
		}
		if got := response.Header.Values("Vary"); !slices.Equal(got, []string{acceptEncoding}) {
			t.Errorf("%s: got Vary %v; want %s", accepted, got, acceptEncoding)
		}
		if want != "" && len(response.Body)*2 > len(list.Body) {
			t.Errorf("%s: got %d bytes; want at most half of %d", accepted, len(response.Body), len(list.Body))
		}
		if response.Header.Get("RateLimit") != list.Header.Get("RateLimit") || response.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: got header %v", accepted, response.Header)
		}
	}
	small := caller.Get("/v1/products/prd_0y5apuf8zs", acceptEncoding, "gzip").Want(http.StatusOK)
	if small.Header.Get("Content-Encoding") != "" || small.Header.Get("Content-Length") == "" {
		t.Errorf("small response: got header %v; want it uncompressed", small.Header)
	}
}

func TestCompress_entity_tags(t *testing.T) {
	caller := newApp(t).caller("internal")
	for _, path := range []string{"/v1/products", "/openapi.json"} {
		compressed := caller.Get(path, acceptEncoding, "gzip").Want(http.StatusOK).Header.Get("ETag")
		identity := caller.Get(path, acceptEncoding, "identity").Want(http.StatusOK).Header.Get("ETag")
		if compressed == identity || strings.HasPrefix(compressed, "W/") {
			t.Errorf("%s: got tags %s compressed and %s uncompressed; want different strong tags", path, compressed, identity)
		}
		for _, accepted := range []string{"gzip", "identity"} {
			for _, tag := range []string{compressed, identity} {
				for _, method := range []string{get, head} {
					same := caller.Do(method, path, nil, acceptEncoding, accepted, "If-None-Match", `"x", `+tag).Want(http.StatusNotModified)
					if got := same.Header.Get("ETag"); got != tag || len(same.Body) != 0 || same.Header.Get("Content-Encoding") != "" ||
						!slices.Equal(same.Header.Values("Vary"), []string{acceptEncoding}) {
						t.Errorf("%s %s: If-None-Match %s: got header %v", method, path, tag, same.Header)
					}
				}
			}
		}
		caller.Get(path, acceptEncoding, "gzip", "If-None-Match", `"x-gzip"`).Want(http.StatusOK)
	}
}

func TestCompress_if_match(t *testing.T) {
	admin := newApp(t).admin()
	const path = "/v1/admin/plans/big"
	var policies []string
	for i := range 16 {
		policies = append(policies, fmt.Sprintf(`{"name":"policy-%d","algorithm":"fixed_window","limit":1,"period":"1m"}`, i))
	}
	big := `{"description":"Large.","policies":[` + strings.Join(policies, ",") + `]}`
	admin.Do(put, path, big).Want(http.StatusCreated)
	got := admin.Get(path, acceptEncoding, "gzip").Want(http.StatusOK)
	tag := got.Header.Get("ETag")
	if got.Header.Get("Content-Encoding") != "gzip" || tag != `"1-gzip"` {
		t.Fatalf("got header %v", got.Header)
	}
	admin.Do(put, path, minutePlan(1), "If-Match", tag).Want(http.StatusOK)
	admin.Do(put, path, minutePlan(2), "If-Match", tag).Want(http.StatusPreconditionFailed)
}

func TestCompress_head(t *testing.T) {
	caller := newApp(t).caller("internal")
	for _, path := range []string{"/v1/products", "/v1/products/prd_0y5apuf8zs", "/v1/none"} {
		for _, accepted := range []string{"identity", "gzip"} {
			want := caller.Get(path, acceptEncoding, "identity", "X-Request-Id", "r")
			got := caller.Do(head, path, nil, acceptEncoding, accepted, "X-Request-Id", "r").Want(want.Status)
			encoded := caller.Get(path, acceptEncoding, accepted)
			want.Header.Set("ETag", encoded.Header.Get("ETag"))
			if encoded.Header.Get("Content-Encoding") != "" { // the length isn't known without compressing
				want.Header.Del("Content-Length")
			}
			for _, name := range []string{"Content-Type", "ETag", "Cache-Control", "Content-Length"} {
				if got.Header.Get(name) != want.Header.Get(name) {
					t.Errorf("HEAD %s: got %s %q; want %q as for GET", path, name, got.Header.Get(name), want.Header.Get(name))
				}
			}
			if len(got.Body) != 0 || got.Header.Get("Content-Encoding") != "" {
				t.Errorf("HEAD %s: got %d bytes, header %v", path, len(got.Body), got.Header)
			}
		}
	}
}

// Static files are compressed once: GET and HEAD have the same header, with the length of what is sent.
func TestCompress_static_files(t *testing.T) {
	app := newApp(t)
	tags := map[string]bool{}
	for _, path := range []string{
		"/openapi.json", "/docs", "/redoc", "/swagger/index.css", "/swagger/doc.json", "/swagger/swagger-ui.css", "/swagger/swagger-ui-bundle.js",
		"/redoc/redoc.standalone.js", "/redoc/redoc-initializer.js", "/guide/", "/guide/limits", "/guide/guide.css", "/demo/orders",
	} {
		app.clock.Advance(time.Second) // the bound of an address
		identity := app.Get(path, acceptEncoding, "identity").Want(http.StatusOK)
		for accepted, encoding := range map[string]string{"identity": "", "gzip;q=0": "", "br, GZIP;q=0.5": "gzip"} {
			got := app.Get(path, acceptEncoding, accepted).Want(http.StatusOK)
			header := app.Do(head, path, nil, acceptEncoding, accepted).Want(http.StatusOK).Header
			for _, name := range []string{"Content-Type", "ETag", "Cache-Control", "Content-Length", "Content-Encoding", "Vary", "Last-Modified"} {
				if header.Get(name) != got.Header.Get(name) {
					t.Errorf("HEAD %s: got %s %q; want %q as for GET", path, name, header.Get(name), got.Header.Get(name))
				}
			}
			if got.Header.Get("Content-Encoding") != encoding || got.Header.Get("Content-Length") != strconv.Itoa(len(got.Body)) ||
				!slices.Equal(got.Header.Values("Vary"), []string{acceptEncoding}) || got.Header.Get("Last-Modified") != "" {
				t.Errorf("%s, %s: %d bytes, header %v", path, accepted, len(got.Body), got.Header)
			}
			if string(plain(t, got)) != string(identity.Body) {
				t.Errorf("%s, %s: got other content", path, accepted)
			}
			tag := got.Header.Get("ETag")
			tags[tag] = true
			same := app.Get(path, acceptEncoding, accepted, "If-None-Match", tag).Want(http.StatusNotModified)
			if same.Header.Get("ETag") != tag || len(same.Body) != 0 || same.Header.Get("Content-Encoding")+same.Header.Get("Content-Length") != "" {
				t.Errorf("%s, %s: 304 with %d bytes, header %v", path, accepted, len(same.Body), same.Header)
			}
			app.Get(path, acceptEncoding, accepted, "If-None-Match", `"another"`).Want(http.StatusOK)
		}
	}
	if len(tags) != 26 {
		t.Errorf("got %d entity tags of 13 files; want 2 of each", len(tags))
	}
}

// Responses with a secret are not compressed, other responses about the key are.
func TestCompress_excludes_secrets(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	metadata := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		metadata[name] = strings.Repeat("text ", 80)
	}
	body, err := json.Marshal(map[string]any{"name": "long", "metadata": metadata})
	if err != nil {
		t.Fatal(err)
	}
	for _, accepted := range []string{"gzip", "br", "identity"} {
		created := admin.Post("/v1/admin/keys", body, acceptEncoding, accepted).Want(http.StatusCreated)
		var key struct{ ID, Key string }
		if err := json.Unmarshal(created.Body, &key); err != nil || len(created.Body) < 2000 {
			t.Fatalf("got %d bytes, error %v", len(created.Body), err)
		}
		if created.Header.Get("Content-Encoding") != "" || created.Header.Get("No-Gzip-Compression") != "" || created.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("create, %s: got header %v; want it uncompressed", accepted, created.Header)
		}
		rotated := app.As(key.Key).Post("/v1/me/rotate", nil, acceptEncoding, accepted).Want(http.StatusCreated)
		if rotated.Header.Get("Content-Encoding") != "" || rotated.Header.Get("No-Gzip-Compression") != "" {
			t.Errorf("rotate, %s: got header %v; want it uncompressed", accepted, rotated.Header)
		}
		if read := admin.Get("/v1/admin/keys/"+key.ID, acceptEncoding, "gzip").Want(http.StatusOK); read.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("key without secret: got header %v; want it compressed", read.Header)
		}
	}
}

func TestCompress_docs(t *testing.T) {
	app := newApp(t)
	spec := app.Get("/openapi.json", acceptEncoding, "gzip").Want(http.StatusOK)
	if spec.Header.Get("Content-Encoding") != "gzip" || string(plain(t, spec)) != string(docs.OpenAPI()) || spec.Header.Get("Accept-Ranges") != "" {
		t.Errorf("got header %v", spec.Header)
	}
	for path, want := range map[string]string{"/swagger/swagger-ui-bundle.js": "gzip", "/swagger/favicon-32x32.png": ""} {
		if got := app.Get(path, acceptEncoding, "gzip").Want(http.StatusOK).Header.Get("Content-Encoding"); got != want {
			t.Errorf("%s: got Content-Encoding %q; want %q", path, got, want)
		}
	}
	app.Get("/openapi.json", acceptEncoding, "identity", "Range", "bytes=99999999-").Want(http.StatusOK) // ranges are not supported
}

// Many faults make a response large enough to be compressed.
func TestCompress_refunded_response(t *testing.T) {
	app := newApp(t)
	app.plan("done", `[{"name":"done","algorithm":"fixed_window","limit":10,"period":"1h","charge":"successes"}]`)
	caller := app.As(app.key(models.NewKey{Plan: "done"}))
	body := `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"quantity":0},`, 20), ",") + `],"email":"x","payment_token":"t"}`
	response := caller.Post("/v1/orders", body, acceptEncoding, "gzip").Want(http.StatusUnprocessableEntity)
	if response.Header.Get("Content-Encoding") != "gzip" || response.Header.Get("RateLimit") != `"done";r=10;t=3600` ||
		response.Header.Get("Content-Type") != middleware.ProblemMediaType {
		t.Errorf("got header %v", response.Header)
	}
}

// The internal header that disables compression is removed also for requests
// without Accept-Encoding.
func TestCompress_removes_internal_header(t *testing.T) {
	app := newApp(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app.Base()+"/v1/me/rotate", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", app.key(models.NewKey{Plan: "internal"}))
	transport := &http.Transport{DisableCompression: true} // sends no Accept-Encoding
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated || response.Header.Get("No-Gzip-Compression") != "" {
		t.Errorf("got %s, header %v", response.Status, response.Header)
	}
}
