package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"

	"ratelimiter/internal/config"
)

// newLogger returns a logger to stderr in the configured format, and what must be
// called at the end. With the text format on a terminal, terminal is stderr, for
// lines that change in place; otherwise it is nil. A nil cfg, of settings with
// faults, has the defaults.
func newLogger(stderr io.Writer, cfg *config.Config) (log *slog.Logger, terminal io.Writer, flush func()) {
	if cfg == nil {
		cfg = &config.Config{}
	}
	if isTerminal(stderr) {
		terminal = stderr
	}
	if cfg.LogFormat == config.LogText || cfg.LogFormat != config.LogJSON && terminal != nil {
		return slog.New(textHandler(stderr, cfg.LogLevel, terminal != nil && os.Getenv("NO_COLOR") == "")), terminal, func() {}
	}
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if terminal != nil { // somebody watches
		return slog.New(slog.NewJSONHandler(escaping{stderr}, options)), nil, func() {}
	}
	buffer := newLineBuffer(stderr)
	return slog.New(jsonHandler{slog.NewJSONHandler(escaping{buffer}, options), buffer}), nil, buffer.Close
}

// textHandler writes log lines for people.
func textHandler(out io.Writer, level slog.Level, colored bool) slog.Handler {
	return tint.NewHandler(out, &tint.Options{Level: level, TimeFormat: "15:04:05", NoColor: !colored, ReplaceAttr: withoutControls})
}

// withoutControls escapes the control characters of an attribute, or of the
// message. tint writes escape sequences as they are, and cuts a text at the first
// byte that isn't UTF-8.
func withoutControls(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindString && a.Value.Kind() != slog.KindAny {
		return a
	}
	if _, isLevel := a.Value.Any().(slog.Level); !isLevel {
		text := strings.ToValidUTF8(fmt.Sprint(a.Value.Any()), "?")
		a.Value = slog.StringValue(escape(strings.ReplaceAll(text, "\ufffd", "?")))
	}
	return a
}

// isTerminal reports whether out is a terminal.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}
