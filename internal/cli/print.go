package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

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

// printJSON prints v in one line, with the control characters escaped that
// encoding/json leaves as they are.
func printJSON(out io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var line bytes.Buffer
	for _, r := range string(data) {
		if models.IsControl(r) { // only strings contain any, none is above U+FFFF
			fmt.Fprintf(&line, `\u%04x`, r)
		} else {
			line.WriteRune(r)
		}
	}
	line.WriteByte('\n')
	_, err = line.WriteTo(out)
	return err
}
