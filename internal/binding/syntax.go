package binding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// checkSyntax rejects everything but one JSON value as of RFC 8259 and RFC 7493
// (I-JSON): no duplicate names, valid Unicode, bounded depth.
func checkSyntax(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return malformed("The body is empty; it must be JSON.")
	}
	decoder := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		_, err := decoder.ReadToken()
		switch {
		case err == nil:
		case errors.Is(err, io.ErrUnexpectedEOF):
			return malformed("The JSON ends too early.")
		default:
			return malformed(syntaxDetail(err))
		}
		if decoder.StackDepth() > maxDepth {
			return malformed(fmt.Sprintf("The JSON is nested deeper than %d levels.", maxDepth))
		}
		if decoder.StackDepth() == 0 {
			break
		}
	}
	if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return malformed("The JSON is followed by other data.")
	}
	return nil
}

// syntaxDetail describes a syntax error and its position, without repeating input.
func syntaxDetail(err error) string {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return "The body is not JSON."
	}
	reason := "is not JSON"
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		reason = "repeats a name in one object"
	case strings.Contains(syntax.Err.Error(), "UTF-8"):
		reason = "is not valid UTF-8"
	case strings.Contains(syntax.Err.Error(), "surrogate"):
		reason = "has an unpaired surrogate"
	}
	return fmt.Sprintf("The body %s, at byte %d.", reason, syntax.ByteOffset)
}
