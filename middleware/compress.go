package middleware

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzhttp"
)

// How answers are compressed. Below minCompressed bytes an answer fits into one
// packet either way. A page of 20 products, 4,375 bytes, becomes 951 in 10 µs at
// level 1, and 937 in 23 µs at level 6: see BenchmarkLevels.
const (
	minCompressed    = 1024
	compressionLevel = 1
)

// compressible are the media types that get smaller. Event streams are not among
// them: each event has to leave at once. PNG and PDF are compressed already.
var compressible = []string{
	"application/json", "application/problem+json", "application/javascript", "application/yaml", "image/svg+xml",
	"text/css", "text/html", "text/javascript", "text/plain", "text/yaml",
}

// gzipSuffix ends the entity tag of a compressed answer: a strong tag is of
// these bytes, so the same content has another one when it is compressed (RFC
// 9110, section 8.8.3.3).
const gzipSuffix = "-gzip"

// varyEncoding is shared by all answers: not to be changed.
var varyEncoding = []string{"Accept-Encoding"}

// varyBySize sets Vary on an answer whose first bytes are enough to be
// compressed for a caller who accepts that. Smaller ones are the same for all,
// and go without: the ninth field of a header makes its map grow, which costs
// five allocations.
func (e *exchange) varyBySize(first int) {
	if first < minCompressed || e.Written() {
		return
	}
	switch header := e.Header(); {
	case header["Vary"] == nil:
		header["Vary"] = varyEncoding
	case !slices.Contains(header["Vary"], varyEncoding[0]):
		header["Vary"] = append(header["Vary"], varyEncoding[0])
	}
}

// Compress compresses answers by gzip where that pays and the caller accepts it.
// It is around the router, so that what is inside sees neither compressed bytes
// nor the tags that belong to them. A caller who accepts nothing costs nothing.
// An answer with the field gzhttp.HeaderNoCompression goes out as it is,
// without the field; it may be set only if the request has an Accept-Encoding.
func Compress(next http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(
		gzhttp.MinSize(minCompressed), gzhttp.CompressionLevel(compressionLevel), gzhttp.EnableZstd(false),
		gzhttp.SuffixETag(gzipSuffix), gzhttp.SetContentType(false), gzhttp.ContentTypeFilter(isCompressible),
	)
	if err != nil {
		panic(err) // the options are constants
	}
	compressed := wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sent := withoutSuffix(r.Header); sent != nil {
			w = &revalidation{ResponseWriter: w, sent: sent}
		}
		accepted := r.Header["Accept-Encoding"]
		if len(accepted) > 1 { // one list over several lines (RFC 9110, section 5.3)
			r.Header.Set("Accept-Encoding", strings.Join(accepted, ", "))
		}
		if accepted == nil || wantsEvents(r) {
			if r.Header["If-None-Match"] != nil { // a 304 has no size to go by
				w.Header()["Vary"] = varyEncoding
			}
			next.ServeHTTP(w, r)
			return
		}
		compressed(w, r)
	})
}

// wantsEvents reports whether a request is for an event stream, whose header has
// to leave before there is anything to compress.
func wantsEvents(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

func isCompressible(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && slices.Contains(compressible, mediaType)
}

// withoutSuffix takes gzipSuffix off the entity tags that a request names, and
// returns the lines of If-None-Match as they were sent, if one had it.
func withoutSuffix(header http.Header) (sent []string) {
	for _, field := range [...]string{"If-None-Match", "If-Match"} {
		lines := header[field]
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, gzipSuffix+`"`) }) {
			continue
		}
		if field == "If-None-Match" {
			sent = lines
		}
		plain := make([]string, len(lines))
		for i, line := range lines {
			plain[i] = strings.ReplaceAll(line, gzipSuffix+`"`, `"`)
		}
		header[field] = plain
	}
	return sent
}

// revalidation answers a 304 with the tag of the compressed content to a caller
// who has that, so that a cache knows which of its answers is still right.
type revalidation struct {
	http.ResponseWriter
	sent []string // the lines of If-None-Match
}

// WriteHeader sends the header.
func (w *revalidation) WriteHeader(status int) {
	header := w.Header()
	if tag, quoted := strings.CutSuffix(header.Get("Etag"), `"`); quoted && status == http.StatusNotModified {
		tag += gzipSuffix + `"`
		if slices.ContainsFunc(w.sent, func(line string) bool { return strings.Contains(line, tag) }) {
			header["Etag"] = []string{tag}
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Flush sends what is buffered.
func (w *revalidation) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap lets http.ResponseController reach the connection's own writer.
func (w *revalidation) Unwrap() http.ResponseWriter { return w.ResponseWriter }
