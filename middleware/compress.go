package middleware

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzhttp"
)

// Bounds of compression. A response below minCompressed bytes fits into one
// packet either way. A page of 20 products, 4,375 bytes, becomes 951 in 10 µs at
// level 1, and 937 in 23 µs at level 6: see BenchmarkLevels.
const (
	minCompressed    = 1024
	compressionLevel = 1
)

// compressible are the media types to compress. Event streams must not be
// buffered; PNG and PDF are compressed already.
var compressible = []string{
	"application/json", "application/problem+json", "application/javascript", "application/yaml", "image/svg+xml",
	"text/css", "text/html", "text/javascript", "text/plain", "text/yaml",
}

// gzipSuffix ends the entity tag of a compressed response. A strong tag
// identifies bytes, so that compressed content needs another one (RFC 9110,
// section 8.8.3.3).
const gzipSuffix = "-gzip"

// Header values that requests and responses share. They must not be changed.
var (
	varyEncoding = []string{"Accept-Encoding"}
	onlyGzip     = []string{"gzip"}
)

// prepareEncoding sets the header fields that depend on compression, before the
// header is sent; first is the length of the first write. A response that is
// large enough to be compressed varies by encoding. A HEAD response, which has no
// body to compress, gets the entity tag of the GET response, and no length, because
// that of the compressed content isn't known. Smaller responses
// don't vary; a ninth header field would make the map grow, which costs five
// allocations.
func (s *requestState) prepareEncoding(first int) {
	if first < minCompressed || s.Written() {
		return
	}
	header := s.Header()
	switch {
	case header["Vary"] == nil:
		header["Vary"] = varyEncoding
	case !slices.Contains(header["Vary"], varyEncoding[0]):
		header["Vary"] = append(header["Vary"], varyEncoding[0])
	}
	if !s.headOfCompressed || !isCompressible(header.Get("Content-Type")) {
		return
	}
	if tag := header.Get("Etag"); tag != "" {
		header["Etag"] = []string{withSuffix(tag)}
	}
	if header["Content-Encoding"] == nil { // otherwise the handler knows the length
		header["Content-Length"] = nil // neither sent nor computed
	}
}

// withSuffix returns the entity tag of the compressed content that has tag
// uncompressed.
func withSuffix(tag string) string {
	return strings.TrimSuffix(strings.TrimSuffix(tag, `"`), gzipSuffix) + gzipSuffix + `"`
}

// acceptsGzip reports whether a request accepts gzip (RFC 9110, section 12.5.3).
func acceptsGzip(header http.Header) bool {
	for element := range strings.SplitSeq(strings.ToLower(strings.Join(header["Accept-Encoding"], ",")), ",") {
		name, quality, _ := strings.Cut(strings.ReplaceAll(element, " ", ""), ";q=")
		if name != "gzip" {
			continue
		}
		q, err := strconv.ParseFloat(quality, 64)
		return quality == "" || err == nil && q > 0
	}
	return false
}

// Compress compresses responses with gzip where that pays and the client accepts
// it. Handlers see an Accept-Encoding of exactly "gzip" if the client does; they
// may send compressed content, with Content-Encoding, themselves. It wraps the router, so that handlers see neither compressed bytes nor
// their entity tags. A response with the field gzhttp.HeaderNoCompression is
// sent unchanged, without the field; it may be set only if the request has an
// Accept-Encoding. The response to a request of which isStream reports that it is
// for a stream is sent unchanged, and its header before there is content.
func Compress(next http.Handler, isStream func(*http.Request) bool) http.Handler {
	wrap, err := gzhttp.NewWrapper(
		gzhttp.MinSize(minCompressed), gzhttp.CompressionLevel(compressionLevel), gzhttp.EnableZstd(false),
		gzhttp.SetContentType(false), gzhttp.ContentTypeFilter(isCompressible),
	)
	if err != nil {
		panic(err) // the options are constants
	}
	compressed := wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wire := wireWriters.Get().(*wireWriter)
		wire.ResponseWriter, wire.sentTags = w, withoutSuffix(r.Header)
		defer func() {
			wire.ResponseWriter, wire.sentTags, wire.named = nil, nil, false
			wireWriters.Put(wire)
		}()
		if acceptsGzip(r.Header) {
			r.Header["Accept-Encoding"] = onlyGzip
		}
		if r.Header["Accept-Encoding"] == nil || isStream(r) {
			if r.Header["If-None-Match"] != nil { // a 304 has no size to go by
				w.Header()["Vary"] = varyEncoding
			}
			next.ServeHTTP(wire, r)
			return
		}
		compressed(wire, r)
	})
}

func isCompressible(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && slices.Contains(compressible, mediaType)
}

// withoutSuffix removes gzipSuffix from the entity tags of a request, and returns
// the original lines of If-None-Match if one had it.
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
