package middleware

import (
	"bufio"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// standardNames are the header fields whose standards spell them differently from
// net/http's canonical form, which handlers and libraries use.
var standardNames = [...]struct{ canonical, standard string }{
	{"Etag", "ETag"},
	{"Ratelimit", "RateLimit"},
	{"Ratelimit-Policy", "RateLimit-Policy"},
	{"X-Ratelimit-Limit", "X-RateLimit-Limit"},
	{"X-Ratelimit-Remaining", "X-RateLimit-Remaining"},
	{"X-Ratelimit-Reset", "X-RateLimit-Reset"},
	{"Www-Authenticate", "WWW-Authenticate"},
}

// wireWriter is the outermost response writer. It gives header fields their final
// form: standard names, and the entity tag of compressed content.
type wireWriter struct {
	http.ResponseWriter
	sentTags []string // lines of If-None-Match with tags of compressed responses
	named    bool     // the header has its final form
}

var wireWriters = sync.Pool{New: func() any { return new(wireWriter) }}

// finish gives the header its final form.
func (w *wireWriter) finish(status int) {
	if w.named {
		return
	}
	w.named = status < 100 || status > 199 || status == http.StatusSwitchingProtocols
	header := w.Header()
	delete(header, "Accept-Ranges") // set by net/http; see IgnoreRange
	switch tag := header.Get("Etag"); {
	case status == http.StatusNotModified:
		w.restoreTag(header)
	case tag != "" && header.Get("Content-Encoding") == "gzip":
		header["Etag"] = []string{withSuffix(tag)}
	}
	for _, name := range standardNames {
		if values, found := header[name.canonical]; found {
			delete(header, name.canonical)
			header[name.standard] = values
		}
	}
}

// restoreTag gives a 304 the tag of the compressed content if the client sent
// that, so that caches know which stored response is still valid.
func (w *wireWriter) restoreTag(header http.Header) {
	tag, quoted := strings.CutSuffix(header.Get("Etag"), `"`)
	tag += gzipSuffix + `"`
	if quoted && slices.ContainsFunc(w.sentTags, func(line string) bool { return strings.Contains(line, tag) }) {
		header["Etag"] = []string{tag}
	}
}

// WriteHeader sends the header.
func (w *wireWriter) WriteHeader(status int) {
	w.finish(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write sends data.
func (w *wireWriter) Write(data []byte) (int, error) {
	w.finish(http.StatusOK)
	return w.ResponseWriter.Write(data)
}

// Flush sends what is buffered.
func (w *wireWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *wireWriter) FlushError() error {
	w.finish(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack takes over the connection.
func (w *wireWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap returns the wrapped writer, for http.ResponseController.
func (w *wireWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
