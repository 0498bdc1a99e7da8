package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"ratelimiter/models"
)

// printable returns a stored text, quoted and escaped if it has control
// characters: they could change what a terminal shows.
func printable(text string) string {
	if strings.ContainsFunc(text, models.IsControl) {
		return strconv.Quote(text)
	}
	return text
}

// escape returns text with all control characters except line feeds escaped as
// in JSON.
func escape(text string) string {
	hidden := func(r rune) bool { return r != '\n' && models.IsControl(r) }
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if !hidden(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// printJSON prints v in one line, with the control characters escaped that
// encoding/json leaves as they are.
func printJSON(out io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, escape(string(data))+"\n")
	return err
}

// escaping is a writer of log lines in JSON that escapes their control characters.
type escaping struct{ io.Writer }

// Write writes a line.
func (e escaping) Write(line []byte) (int, error) {
	for _, b := range line {
		if b >= utf8.RuneSelf || b == 0x7f { // slog escapes the others
			_, err := io.WriteString(e.Writer, escape(string(line)))
			return len(line), err
		}
	}
	return e.Writer.Write(line)
}
