package binding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ratelimiter/models"
)

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
