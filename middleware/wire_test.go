package middleware

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

// tagged serves size bytes with an entity tag, for GET and HEAD.
func tagged(t *testing.T, size int) *httptest.Server {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(Begin(nil), Headers(), RenderErrors())
	handler := func(c *gin.Context) {
		c.Header("ETag", `"tag"`)
		c.Header("RateLimit", `"a";r=1`)
		c.Header("Content-Type", "application/json")
		_, _ = c.Writer.WriteString(strings.Repeat("x", size))
	}
	router.GET("/", handler)
	router.HEAD("/", handler)
	router.GET("/denied", func(c *gin.Context) { Fail(c, &httpError{http.StatusUnauthorized, "key_invalid", "no"}) })
	server := httptest.NewServer(Compress(router, byAccept))
	t.Cleanup(server.Close)
	return server
}

// rawHeader returns the header of a response as it was sent.
func rawHeader(t *testing.T, server *httptest.Server, request string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request+"\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var header strings.Builder
	for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != ""; {
		header.WriteString(lines.Text() + "\n")
	}
	return header.String()
}

func TestWireWriter_standard_names(t *testing.T) {
	server := tagged(t, 10)
	for request, want := range map[string][]string{
		"GET / HTTP/1.1":                          {"\nETag: \"tag\"\n", "\nRateLimit: \"a\";r=1\n"},
		"HEAD / HTTP/1.1":                         {"\nETag: \"tag\"\n", "\nRateLimit: "},
		"GET /denied HTTP/1.1":                    {"\nWWW-Authenticate: Bearer"},
		"GET / HTTP/1.1\r\nAccept-Encoding: gzip": {"\nETag: \"tag\"\n", "\nRateLimit: "},
	} {
		header := rawHeader(t, server, request)
		for _, line := range want {
			if !strings.Contains(header, line) {
				t.Errorf("%s: no %q in\n%s", request, line, header)
			}
		}
	}
}

func TestWireWriter_same_tag_for_GET_and_HEAD(t *testing.T) {
	for _, size := range []int{10, minCompressed - 1, minCompressed, 5000} {
		server := tagged(t, size)
		for _, encoding := range []string{"", "gzip", "gzip;q=0", "identity", "br, GZIP; q=0.5"} {
			tags := map[string]string{}
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				request, err := http.NewRequestWithContext(t.Context(), method, server.URL, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				if encoding != "" {
					request.Header.Set("Accept-Encoding", encoding)
				}
				header, body := roundTrip(t, request)
				_, _ = io.Copy(io.Discard, body)
				tags[method] = header.Get("ETag")
			}
			compressed := strings.HasSuffix(tags[http.MethodGet], gzipSuffix+`"`)
			if tags[http.MethodGet] != tags[http.MethodHead] || tags[http.MethodGet] == "" {
				t.Errorf("%d bytes, Accept-Encoding %q: GET has %s, HEAD has %s", size, encoding, tags[http.MethodGet], tags[http.MethodHead])
			}
			if want := size >= minCompressed && (encoding == "gzip" || strings.Contains(encoding, "GZIP")); compressed != want {
				t.Errorf("%d bytes, Accept-Encoding %q: compressed %t; want %t", size, encoding, compressed, want)
			}
		}
	}
}

func byAccept(r *http.Request) bool { return r.Header.Get("Accept") == "text/event-stream" }
