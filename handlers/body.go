package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"ratelimiter/models"
)

// Bounds of a request's body.
const (
	maxBodyBytes = 64 << 10
	maxDepth     = 32 // objects and lists inside each other
)

var errTooLarge = &models.StatusError{
	Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("The body is larger than %d KiB.", maxBodyBytes>>10),
}

// validator is a request's body that knows which values are right.
type validator interface {
	// validate adds a fault for every value that isn't right.
	validate(*models.Faults)
}

// readBody decodes a JSON body into out, which must be a pointer to a struct,
// and validates it. Errors: *models.StatusError (413, 415, or 400 for what is
// no JSON), *models.InvalidError with every fault.
func readBody(c *gin.Context, out validator) error {
	if err := checkMediaType(c); err != nil {
		return err
	}
	if encoding := c.GetHeader("Content-Encoding"); encoding != "" && encoding != "identity" {
		return &models.StatusError{Status: http.StatusUnsupportedMediaType, Detail: "The body must not be compressed."}
	}
	if c.Request.ContentLength > maxBodyBytes {
		return errTooLarge // without waiting for it
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBodyBytes))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return errTooLarge
	}
	if err != nil {
		return badJSON("The body could not be read to its end.")
	}
	if err := checkSyntax(body); err != nil {
		return err
	}
	return decode(body, out)
}

// readOptionalBody is readBody where a request without any body means all the
// defaults.
func readOptionalBody(c *gin.Context, out validator) error {
	if c.Request.ContentLength == 0 {
		return decode([]byte("{}"), out)
	}
	return readBody(c, out)
}

// mergePatch is the media type of RFC 7396; plain JSON is taken for it too.
const mergePatch = "application/merge-patch+json"

func checkMediaType(c *gin.Context) error {
	mediaType, params, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	charset := strings.ToLower(params["charset"])
	known := mediaType == "application/json" || mediaType == mergePatch && c.Request.Method == http.MethodPatch
	if err != nil || !known || charset != "" && charset != "utf-8" {
		return &models.StatusError{Status: http.StatusUnsupportedMediaType, Detail: "The body has to be application/json, in UTF-8."}
	}
	return nil
}

// checkSyntax refuses what is no JSON text as RFC 8259 and RFC 7493 (I-JSON)
// have it: one value, no duplicate names, valid Unicode, not too deep.
func checkSyntax(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return badJSON("The body is empty; it has to be JSON.")
	}
	decoder := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		_, err := decoder.ReadToken()
		switch {
		case err == nil:
		case errors.Is(err, io.ErrUnexpectedEOF):
			return badJSON("The JSON ends too early.")
		default:
			return badJSON(syntaxDetail(err))
		}
		if decoder.StackDepth() > maxDepth {
			return badJSON(fmt.Sprintf("The JSON is nested deeper than %d levels.", maxDepth))
		}
		if decoder.StackDepth() == 0 {
			break
		}
	}
	if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return badJSON("There is something behind the end of the JSON.")
	}
	return nil
}

// syntaxDetail says what is wrong and where, without repeating what was sent.
func syntaxDetail(err error) string {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return "The body is not JSON."
	}
	reason := "is not JSON"
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		reason = "has a name twice in one object"
	case strings.Contains(syntax.Err.Error(), "UTF-8"):
		reason = "is not valid UTF-8"
	case strings.Contains(syntax.Err.Error(), "surrogate"):
		reason = "has an unpaired surrogate"
	}
	return fmt.Sprintf("The body %s, at byte %d.", reason, syntax.ByteOffset)
}

func badJSON(detail string) error {
	return &models.StatusError{Status: http.StatusBadRequest, Detail: detail}
}
