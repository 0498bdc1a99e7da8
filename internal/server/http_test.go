package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"ratelimiter/handlers"
	"ratelimiter/models"
)

// exchange sends a request on a connection and reads a response that ends in a
// brace. It allocates nothing.
func exchange(tb testing.TB, conn net.Conn, request, buffer []byte) []byte {
	if _, err := conn.Write(request); err != nil {
		tb.Fatal(err)
	}
	for n := 0; ; {
		read, err := conn.Read(buffer[n:])
		if err != nil {
			tb.Fatalf("%v after %q", err, buffer[:n])
		}
		if n += read; buffer[n-1] == '}' {
			return buffer[:n]
		}
	}
}

// The allocations of a request over HTTP, with those of net/http: 15 for any
// request, and 5 for the header.
func TestHTTP_allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, test := range []struct {
		name, status string
		limit        int64
		atMost       float64
	}{
		{"one product", "200 OK", 1_000_000, 25},
		{"refused", "429 Too Many Requests", 1, 27},
	} {
		t.Run(test.name, func(t *testing.T) {
			listener := NewListener("HTTP_ADDR", "127.0.0.1:0")
			server := NewHTTP(listener, realRouter(t, test.limit), slog.New(slog.DiscardHandler), func(err error) { t.Error(err) })
			for _, c := range []interface{ Start(context.Context) error }{listener, server} {
				if err := c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			defer func() { _ = server.Stop(context.Background()) }()
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request, buffer := []byte("GET /v1/products/p HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer rl_live_x\r\n\r\n"), make([]byte, 4096)
			exchange(t, conn, request, buffer) // spends what there is
			if got := exchange(t, conn, request, buffer); !bytes.HasPrefix(got, []byte("HTTP/1.1 "+test.status+"\r\n")) {
				t.Fatalf("got %q", got)
			}
			got := testing.AllocsPerRun(1000, func() { exchange(t, conn, request, buffer) })
			t.Logf("%v allocations", got)
			if got > test.atMost {
				t.Errorf("%v allocations; at most %v", got, test.atMost)
			}
		})
	}
}

// A body has its length, also one that net/http would send in chunks, and HEAD has
// it without the body.
func TestHTTP_content_length(t *testing.T) {
	products := &oneProduct{product: models.Product{ID: "p", Description: strings.Repeat("x", 4000)}}
	products.encoded, _ = handlers.EncodeProduct(products.product) // has no errors
	cfg := routerConfig(t, 1_000_000)
	server := httptest.NewServer(NewRouter(Handlers{
		Products: handlers.NewProducts(products, handlers.NewCursors([]byte("secret"))), Me: handlers.NewMe(nil, cfg.Limiter),
	}, cfg))
	defer server.Close()
	unknown := url.Values{}
	for i := range 30 {
		unknown.Set("unknown"+strings.Repeat("x", i), "1")
	}
	faults := "/v1/products?" + unknown.Encode()
	for path, long := range map[string]bool{"/v1/products/p": true, "/v1/products": true, faults: true, "/v1/me/limits": false, "/nowhere": false} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-API-Key", "rl_live_x")
			r.Header.Set("Accept-Encoding", "identity")
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.TransferEncoding != nil || method == http.MethodGet && response.ContentLength != int64(len(body)) ||
				long != (response.ContentLength > 2048) {
				t.Errorf("%s %.40s: %d with Content-Length %d, %v, %d bytes, %v", method, path, response.StatusCode, response.ContentLength, response.TransferEncoding, len(body), err)
			}
		}
	}
}

// HEAD has the length that GET has, or none: the uncompressed length isn't that of
// a response that GET compresses (RFC 9110, section 8.6).
func TestHTTP_content_length_of_compressed(t *testing.T) {
	for _, length := range []int{100, 1500, 4000} {
		products := &oneProduct{product: models.Product{ID: "p", Description: strings.Repeat("x", length)}}
		products.encoded, _ = handlers.EncodeProduct(products.product) // has no errors
		server := httptest.NewServer(NewRouter(Handlers{Products: handlers.NewProducts(products, handlers.NewCursors([]byte("secret")))}, routerConfig(t, 1_000_000)))
		defer server.Close()
		lengths := map[string]int64{}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/v1/products/p", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-API-Key", "rl_live_x")
			r.Header.Set("Accept-Encoding", "gzip")
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if compressed := response.Header.Get("Content-Encoding") == "gzip"; method == http.MethodGet && compressed != (length > 1000) {
				t.Errorf("%d bytes: GET compressed: %v", length, compressed)
			}
			lengths[method] = response.ContentLength
		}
		if got := lengths[http.MethodHead]; got != -1 && got != lengths[http.MethodGet] {
			t.Errorf("%d bytes: HEAD has Content-Length %d; GET %d", length, got, lengths[http.MethodGet])
		}
	}
}
