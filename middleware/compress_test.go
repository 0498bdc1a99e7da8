package middleware

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

// serveCompressed serves a handler behind Compress and returns a request to it.
func serveCompressed(t *testing.T, handler gin.HandlerFunc, header ...string) *http.Request {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(Begin(nil), Headers(), RenderErrors())
	router.GET("/", handler)
	server := httptest.NewServer(Compress(router, byAccept))
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// roundTrip sends a request and returns the header and the body of the response,
// not decompressed.
func roundTrip(t *testing.T, r *http.Request) (http.Header, io.Reader) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response.Header, response.Body
}

// Each flush sends an event. With a matching Accept, the first flush sends the
// header.
func TestCompress_event_stream(t *testing.T) {
	for _, accept := range []string{"text/event-stream", "*/*"} {
		next := make(chan string)
		early := accept == "text/event-stream"
		r := serveCompressed(t, func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Writer.Flush()
			for event := range next {
				_, _ = io.WriteString(c.Writer, event)
				c.Writer.Flush()
			}
		}, "Accept-Encoding", "gzip", "Accept", accept)
		if !early {
			go func() { next <- "data: 0\n\n" }() // without Accept the header waits for the first event
		}
		got, body := roundTrip(t, r)
		if got.Get("Content-Encoding") != "" {
			t.Fatalf("got header %v; want no Content-Encoding", got)
		}
		lines := bufio.NewReader(body)
		if !early {
			readEvent(t, lines, "data: 0\n")
		}
		for i := range 3 {
			event := "data: " + strconv.Itoa(i+1) + "\n"
			next <- event + "\n"
			readEvent(t, lines, event)
		}
		close(next)
	}
}

// readEvent reads an event from an open stream.
func readEvent(t *testing.T, lines *bufio.Reader, want string) {
	t.Helper()
	got, err := lines.ReadString('\n')
	if _, err2 := lines.ReadString('\n'); got != want || err != nil || err2 != nil {
		t.Fatalf("got %q, errors %v, %v; want %q", got, err, err2, want)
	}
}

func TestCompress_flush(t *testing.T) {
	next := make(chan string)
	r := serveCompressed(t, func(c *gin.Context) {
		c.Header("Content-Type", "text/plain")
		for line := range next {
			_, _ = io.WriteString(c.Writer, line)
			c.Writer.Flush()
		}
	}, "Accept-Encoding", "gzip")
	go func() { next <- "first\n" }()
	header, body := roundTrip(t, r)
	if header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("got header %v; want Content-Encoding gzip", header)
	}
	reader, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(reader)
	for _, line := range []string{"first\n", "second\n"} {
		if line != "first\n" {
			next <- line
		}
		if got, err := lines.ReadString('\n'); got != line || err != nil {
			t.Fatalf("got %q, error %v; want %q", got, err, line)
		}
	}
	close(next)
}

func TestCompress_types_and_sizes(t *testing.T) {
	text := strings.Repeat("x", 4000)
	for contentType, want := range map[string]string{
		"application/json": "gzip", "application/json; charset=utf-8": "gzip", ProblemMediaType: "gzip", "text/html; charset=utf-8": "gzip",
		"text/event-stream": "", "application/pdf": "", "image/png": "", "application/octet-stream": "",
	} {
		r := serveCompressed(t, func(c *gin.Context) {
			c.Header("Content-Type", contentType)
			_, _ = io.WriteString(c.Writer, text)
		}, "Accept-Encoding", "gzip")
		header, _ := roundTrip(t, r)
		if got := header.Get("Content-Encoding"); got != want {
			t.Errorf("%s: got Content-Encoding %q; want %q", contentType, got, want)
		}
	}
	for size, want := range map[int]string{1023: "", 1024: "gzip"} {
		r := serveCompressed(t, func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", []byte(text[:size])) }, "Accept-Encoding", "gzip")
		header, _ := roundTrip(t, r)
		if got := header.Get("Content-Encoding"); got != want {
			t.Errorf("%d bytes: got Content-Encoding %q; want %q", size, got, want)
		}
		r.Header.Del("Accept-Encoding")
		header, _ = roundTrip(t, r)
		if got := header.Get("Vary"); (got != "") != (size >= 1024) {
			t.Errorf("%d bytes: got Vary %q", size, got)
		}
	}
}

func TestCompress_no_allocations_if_not_accepted(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	router := limitedRouter(t)
	compressed := Compress(router, byAccept)
	r := limitedRequest()
	without := testing.AllocsPerRun(1000, func() { router.ServeHTTP(httptest.NewRecorder(), r) })
	with := testing.AllocsPerRun(1000, func() { compressed.ServeHTTP(httptest.NewRecorder(), r) })
	if with > without {
		t.Errorf("got %v allocations; want the %v without Compress", with, without)
	}
}

func TestCompress_Hijack(t *testing.T) {
	r := serveCompressed(t, func(c *gin.Context) {
		conn, _, err := c.Writer.Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+strings.Repeat("raw ", 500))
		_ = conn.Close()
	}, "Accept-Encoding", "gzip")
	header, body := roundTrip(t, r)
	data, err := io.ReadAll(body)
	if string(data) != strings.Repeat("raw ", 500) || header.Get("Content-Encoding") != "" || err != nil {
		t.Errorf("got %d bytes, header %v, error %v; want 2000 raw bytes", len(data), header, err)
	}
}
