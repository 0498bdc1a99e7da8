package binding

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/gin-gonic/gin"
)

// Bounds of a request's body.
const (
	maxBodyBytes = 64 << 10
	maxDepth     = 32 // objects and lists inside each other
)

var errTooLarge = &Error{
	http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("The body is larger than %d KiB.", maxBodyBytes>>10),
}

// body reads a JSON body into a field of the input. Error: a body that can't be
// parsed.
func (p *params) body(field field, into reflect.Value) error {
	if field.optional && isEmpty(p.c.Request) {
		p.decode([]byte("{}"), into)
		return nil
	}
	text, err := readBody(p.c)
	if err != nil {
		return err
	}
	p.decode(text, into)
	return nil
}

// isEmpty reports whether a request has no body. It peeks into a body of unknown
// length, which stays readable.
func isEmpty(r *http.Request) bool {
	if r.ContentLength >= 0 {
		return r.ContentLength == 0
	}
	body := bufio.NewReader(r.Body)
	_, err := body.Peek(1)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	return errors.Is(err, io.EOF)
}

// readBody returns a body that is valid JSON. Error: *Error (400, 413, 415).
func readBody(c *gin.Context) ([]byte, error) {
	if err := checkMediaType(c); err != nil {
		return nil, err
	}
	if encoding := c.GetHeader("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, &Error{http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must not be compressed."}
	}
	if c.Request.ContentLength > maxBodyBytes {
		return nil, errTooLarge // without waiting for it
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBodyBytes))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, malformed("The body could not be read to its end.")
	}
	return body, checkSyntax(body)
}

// mergePatch is the media type of RFC 7396. Plain JSON is accepted too.
const mergePatch = "application/merge-patch+json"

func checkMediaType(c *gin.Context) error {
	mediaType, params, err := mime.ParseMediaType(strings.Join(c.Request.Header["Content-Type"], ", ")) // several lines are invalid
	charset := strings.ToLower(params["charset"])
	known := mediaType == JSON || mediaType == mergePatch && c.Request.Method == http.MethodPatch
	if err != nil || !known || charset != "" && charset != "utf-8" && charset != "utf8" {
		return &Error{http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be application/json, in UTF-8."}
	}
	return nil
}
