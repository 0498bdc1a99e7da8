package cli

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"ratelimiter/models"
)

// hidden has a control character of each kind.
const hidden = "a\x1b[31m\x7f\u009b\u061c\u200b\u202e\u2028\U000e0041\nb"

func TestEscaping_log(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(escaping{&out}, nil)).Info("request", "path", hidden)
	if line := strings.TrimSuffix(out.String(), "\n"); strings.ContainsFunc(line, models.IsControl) {
		t.Errorf("got line %q", line)
	}
	var decoded struct{ Path string }
	if err := json.Unmarshal(out.Bytes(), &decoded); err != nil || decoded.Path != hidden {
		t.Errorf("got path %q, error %v; want %q", decoded.Path, err, hidden)
	}
}

func TestPrintJSON(t *testing.T) {
	var out bytes.Buffer
	if err := printJSON(&out, hidden); err != nil {
		t.Fatal(err)
	}
	var decoded string
	if err := json.Unmarshal(out.Bytes(), &decoded); err != nil || decoded != hidden || strings.ContainsFunc(strings.TrimSpace(out.String()), models.IsControl) {
		t.Errorf("got %q, decoded %q, error %v", out.String(), decoded, err)
	}
}

func TestPrintable(t *testing.T) {
	if got := printable(hidden); strings.ContainsFunc(got, models.IsControl) || !strings.HasPrefix(got, `"a\x1b[31m`) {
		t.Errorf("got %q", got)
	}
	if got := printable("plain “text” ü"); got != "plain “text” ü" {
		t.Errorf("got %q", got)
	}
}

// A secret given as a flag is refused, not repeated, and the error names the
// alternatives.
func TestRun_secrets_are_no_flags(t *testing.T) {
	for _, args := range [][]string{{"--key-pepper", "hush hush hush hush"}, {"--key-pepper=hush hush"}, {"--database-url", "postgres://u:hush@db/x"}} {
		var out, log bytes.Buffer
		code := Run(t.Context(), append(args, "version"), &out, &log)
		if text := log.String(); code != exitUsage || strings.Contains(text, "hush") || !strings.Contains(text, "environment variable") || !strings.Contains(text, "_FILE") {
			t.Errorf("%v: got exit code %d: %s", args, code, text)
		}
	}
}
