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

// serveCompressed serves one handler as the router does, and returns a request
// to it.
func serveCompressed(t *testing.T, handler gin.HandlerFunc, header ...string) *http.Request {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(Begin(nil), Headers(), RenderErrors())
	router.GET("/", handler)
	server := httptest.NewServer(Compress(router))
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

// roundTrip sends a request as it is, and returns the answer's header and body.
func roundTrip(t *testing.T, r *http.Request) (http.Header, io.Reader) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer.Header, answer.Body
}

// Each event leaves when it is flushed, and the header before the first one.
func TestAnEventStreamIsFlushed(t *testing.T) {
	for _, asked := range []string{"text/event-stream", "*/*"} {
		next := make(chan string)
		header := asked == "text/event-stream"
		r := serveCompressed(t, func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Writer.Flush()
			for event := range next {
				_, _ = io.WriteString(c.Writer, event)
				c.Writer.Flush()
			}
		}, "Accept-Encoding", "gzip", "Accept", asked)
		if !header {
			go func() { next <- "data: 0\n\n" }() // without Accept the header waits for the first event
		}
		got, body := roundTrip(t, r)
		if got.Get("Content-Encoding") != "" {
			t.Fatalf("header %v", got)
		}
		lines := bufio.NewReader(body)
		if !header {
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

// readEvent reads an event, which has to be there while the stream goes on.
func readEvent(t *testing.T, lines *bufio.Reader, want string) {
	t.Helper()
	got, err := lines.ReadString('\n')
	if _, more := lines.ReadString('\n'); got != want || err != nil || more != nil {
		t.Fatalf("got %q, %v, %v; want %q", got, err, more, want)
	}
}

func TestACompressedStreamIsFlushed(t *testing.T) {
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
		t.Fatalf("header %v", header)
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
			t.Fatalf("got %q, %v", got, err)
		}
	}
	close(next)
}

func TestOnlyWhatGetsSmallerIsCompressed(t *testing.T) {
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
			t.Errorf("%s: Content-Encoding %q; want %q", contentType, got, want)
		}
	}
	for size, want := range map[int]string{1023: "", 1024: "gzip"} {
		r := serveCompressed(t, func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", []byte(text[:size])) }, "Accept-Encoding", "gzip")
		header, _ := roundTrip(t, r)
		if got := header.Get("Content-Encoding"); got != want {
			t.Errorf("%d bytes: Content-Encoding %q; want %q", size, got, want)
		}
		r.Header.Del("Accept-Encoding")
		header, _ = roundTrip(t, r)
		if got := header.Get("Vary"); (got != "") != (size >= 1024) {
			t.Errorf("%d bytes: Vary %q", size, got)
		}
	}
}

// Who accepts no compression costs no allocation more.
func TestCompressCostsNothingForWhoDoesNotAcceptIt(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	router := limitedRouter(t)
	compressed := Compress(router)
	r := limitedRequest()
	without := testing.AllocsPerRun(1000, func() { router.ServeHTTP(httptest.NewRecorder(), r) })
	with := testing.AllocsPerRun(1000, func() { compressed.ServeHTTP(httptest.NewRecorder(), r) })
	if with > without {
		t.Errorf("%v allocations; without it %v", with, without)
	}
}

// A connection that is handed over, as for a WebSocket, is the caller's alone.
func TestAConnectionIsHandedOverThroughCompress(t *testing.T) {
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
		t.Errorf("%d bytes, %v, %v", len(data), header, err)
	}
}
