package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ratelimiter/docs"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

const accept = "Accept-Encoding"

// plain returns a body as it was before it was compressed.
func plain(t *testing.T, answer *testkit.Response) []byte {
	t.Helper()
	if answer.Header.Get("Content-Encoding") == "" {
		return answer.Body
	}
	reader, err := gzip.NewReader(bytes.NewReader(answer.Body))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLargeAnswersAreCompressedForWhoAcceptsThat(t *testing.T) {
	caller := newApp(t).caller("internal")
	list := caller.Get("/v1/products", accept, "identity").Want(http.StatusOK)
	for accepted, want := range map[string]string{
		"gzip": "gzip", "br, gzip;q=0.5": "gzip", "gzip;q=0": "", "identity": "", "br": "", "deflate, gzip;q=1.0, *;q=0.5": "gzip", "zstd": "",
	} {
		answer := caller.Get("/v1/products", accept, accepted).Want(http.StatusOK)
		if got := answer.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%s: Content-Encoding %q; want %q", accepted, got, want)
		}
		if string(plain(t, answer)) != string(list.Body) {
			t.Errorf("%s: the body is %s", accepted, plain(t, answer))
		}
		if got := answer.Header.Values("Vary"); !slices.Equal(got, []string{accept}) {
			t.Errorf("%s: Vary %v", accepted, got)
		}
		if want != "" && len(answer.Body)*2 > len(list.Body) {
			t.Errorf("%s: %d bytes of %d", accepted, len(answer.Body), len(list.Body))
		}
		if answer.Header.Get("RateLimit") != list.Header.Get("RateLimit") || answer.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: header %v", accepted, answer.Header)
		}
	}
	small := caller.Get("/v1/products/prd_0y5apuf8zs", accept, "gzip").Want(http.StatusOK)
	if small.Header.Get("Content-Encoding") != "" || small.Header.Get("Content-Length") == "" {
		t.Errorf("a small answer has %v", small.Header)
	}
}

func TestATagGoesWithItsEncoding(t *testing.T) {
	caller := newApp(t).caller("internal")
	for _, path := range []string{"/v1/products", "/openapi.json"} {
		zipped := caller.Get(path, accept, "gzip").Want(http.StatusOK).Header.Get("ETag")
		whole := caller.Get(path, accept, "identity").Want(http.StatusOK).Header.Get("ETag")
		if zipped == whole || strings.HasPrefix(zipped, "W/") {
			t.Errorf("%s: tag %s compressed, %s not: strong tags are of the bytes", path, zipped, whole)
		}
		for _, accepted := range []string{"gzip", "identity"} {
			for _, tag := range []string{zipped, whole} {
				for _, method := range []string{get, head} {
					same := caller.Do(method, path, nil, accept, accepted, "If-None-Match", `"x", `+tag).Want(http.StatusNotModified)
					if got := same.Header.Get("ETag"); got != tag || len(same.Body) != 0 || same.Header.Get("Content-Encoding") != "" ||
						!slices.Equal(same.Header.Values("Vary"), []string{accept}) {
						t.Errorf("%s %s: to who has %s the 304 says %v", method, path, tag, same.Header)
					}
				}
			}
		}
		caller.Get(path, accept, "gzip", "If-None-Match", `"x-gzip"`).Want(http.StatusOK)
	}
}

func TestIfMatchTakesTheTagOfACompressedAnswer(t *testing.T) {
	admin := newApp(t).admin()
	const path = "/v1/admin/plans/big"
	var policies []string
	for i := range 16 {
		policies = append(policies, fmt.Sprintf(`{"name":"policy-%d","algorithm":"fixed_window","limit":1,"period":"1m"}`, i))
	}
	big := `{"description":"Large.","policies":[` + strings.Join(policies, ",") + `]}`
	admin.Do(put, path, big).Want(http.StatusCreated)
	got := admin.Get(path, accept, "gzip").Want(http.StatusOK)
	tag := got.Header.Get("ETag")
	if got.Header.Get("Content-Encoding") != "gzip" || tag != `"1-gzip"` {
		t.Fatalf("header %v", got.Header)
	}
	admin.Do(put, path, minutePlan(1), "If-Match", tag).Want(http.StatusOK)
	admin.Do(put, path, minutePlan(2), "If-Match", tag).Want(http.StatusPreconditionFailed)
}

func TestHeadIsAsGetWithoutItsBody(t *testing.T) {
	caller := newApp(t).caller("internal")
	for _, path := range []string{"/v1/products", "/v1/products/prd_0y5apuf8zs", "/openapi.json", "/v1/none"} {
		for _, accepted := range []string{"identity", "gzip"} {
			want := caller.Get(path, accept, "identity", "X-Request-Id", "r")
			got := caller.Do(head, path, nil, accept, accepted, "X-Request-Id", "r").Want(want.Status)
			for _, name := range []string{"Content-Type", "ETag", "Cache-Control", "Content-Length"} {
				if got.Header.Get(name) != want.Header.Get(name) {
					t.Errorf("HEAD %s: %s is %q; GET has %q", path, name, got.Header.Get(name), want.Header.Get(name))
				}
			}
			if len(got.Body) != 0 || got.Header.Get("Content-Encoding") != "" {
				t.Errorf("HEAD %s: %d bytes, %v", path, len(got.Body), got.Header)
			}
		}
	}
}

// A key, long by its metadata, is not compressed; what is no secret of it is.
func TestSecretsAreNotCompressed(t *testing.T) {
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
		made := admin.Post("/v1/admin/keys", body, accept, accepted).Want(http.StatusCreated)
		var key struct{ ID, Key string }
		if err := json.Unmarshal(made.Body, &key); err != nil || len(made.Body) < 2000 {
			t.Fatalf("%d bytes: %v", len(made.Body), err)
		}
		if made.Header.Get("Content-Encoding") != "" || made.Header.Get("No-Gzip-Compression") != "" || made.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", accepted, made.Header)
		}
		rotated := app.As(key.Key).Post("/v1/me/rotate", nil, accept, accepted).Want(http.StatusCreated)
		if rotated.Header.Get("Content-Encoding") != "" || rotated.Header.Get("No-Gzip-Compression") != "" {
			t.Errorf("%s: %v", accepted, rotated.Header)
		}
		if read := admin.Get("/v1/admin/keys/"+key.ID, accept, "gzip").Want(http.StatusOK); read.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("the key without its secret: %v", read.Header)
		}
	}
}

func TestTheDocsAreCompressed(t *testing.T) {
	app := newApp(t)
	spec := app.Get("/openapi.json", accept, "gzip").Want(http.StatusOK)
	if spec.Header.Get("Content-Encoding") != "gzip" || string(plain(t, spec)) != string(docs.OpenAPI()) || spec.Header.Get("Accept-Ranges") != "" {
		t.Errorf("header %v", spec.Header)
	}
	for path, want := range map[string]string{"/swagger/swagger-ui-bundle.js": "gzip", "/swagger/favicon-32x32.png": ""} {
		if got := app.Get(path, accept, "gzip").Want(http.StatusOK).Header.Get("Content-Encoding"); got != want {
			t.Errorf("%s: Content-Encoding %q", path, got)
		}
	}
	app.Get("/openapi.json", accept, "identity", "Range", "bytes=99999999-").Want(http.StatusOK) // all of it, instead of a 416
}

// Many faults make an answer that is worth compressing: the refund and the
// fields of the limits are what they are without.
func TestRefundsAreSettledBeforeWhatIsCompressed(t *testing.T) {
	app := newApp(t)
	app.plan("done", `[{"name":"done","algorithm":"fixed_window","limit":10,"period":"1h","charge":"successes"}]`)
	caller := app.As(app.key(models.NewKey{Plan: "done"}))
	body := `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"quantity":0},`, 20), ",") + `],"email":"x","payment_token":"t"}`
	answer := caller.Post("/v1/orders", body, accept, "gzip").Want(http.StatusUnprocessableEntity)
	if answer.Header.Get("Content-Encoding") != "gzip" || answer.Header.Get("RateLimit") != `"done";r=10;t=3600` ||
		answer.Header.Get("Content-Type") != middleware.ProblemMediaType {
		t.Errorf("header %v", answer.Header)
	}
}

// What keeps a secret from being compressed is between the handler and the
// compression: a caller who names no encoding doesn't see it either.
func TestTheMarkOfASecretIsTakenOff(t *testing.T) {
	app := newApp(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app.Base()+"/v1/me/rotate", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", app.key(models.NewKey{Plan: "internal"}))
	transport := &http.Transport{DisableCompression: true} // and so sends no Accept-Encoding
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated || answer.Header.Get("No-Gzip-Compression") != "" {
		t.Errorf("%s, %v", answer.Status, answer.Header)
	}
}
