package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"ratelimiter/internal/config"
	"ratelimiter/models"
)

// Text that clients choose never changes what a terminal shows.
func TestTextHandler_no_control_characters(t *testing.T) {
	for _, colored := range []bool{false, true} {
		var out bytes.Buffer
		log := slog.New(textHandler(&out, slog.LevelInfo, colored)).With("with", hidden)
		log.Info(strings.ReplaceAll(hidden, "\n", ""), "text", hidden, "error", errors.New(hidden), "list", []string{hidden}, "invalid", "\xff\ufffdafter")
		line := strings.TrimSuffix(out.String(), "\n")
		for _, own := range []string{"\x1b[2m", "\x1b[92m", "\x1b[0m"} { // the colors
			if colored && !strings.Contains(line, own) {
				t.Errorf("no %q in %q", own, line)
			}
			line = strings.ReplaceAll(line, own, "")
		}
		if strings.ContainsFunc(line, models.IsControl) || strings.Count(line, "u001b") != 5 || !strings.Contains(line, "??after") {
			t.Errorf("colored %v: got %q", colored, line)
		}
	}
}

func TestTextHandler_line(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(textHandler(&out, slog.LevelWarn, false))
	log.Info("hidden")
	log.Warn("slow request", "path", "/v1/products", "status", 200, "duration_ms", 1200.5, "violated_policies", []string{"burst", "minute"})
	want := ` WRN slow request path=/v1/products status=200 duration_ms=1200.5 violated_policies="[burst minute]"` + "\n"
	if line := out.String(); len(line) < 8 || line[8:] != want || strings.Count(line[:8], ":") != 2 {
		t.Errorf("got %q", line)
	}
}

// A test's standard error is no terminal, so auto is JSON.
func TestNewLogger_format(t *testing.T) {
	for format, isJSON := range map[config.LogFormat]bool{config.LogAuto: true, config.LogJSON: true, config.LogText: false, "": true} {
		var out bytes.Buffer
		log, terminal, _ := newLogger(&out, &config.Config{LogFormat: format, LogLevel: slog.LevelInfo})
		log.Debug("hidden")
		log.Info("text")
		if got := out.String(); terminal != nil || strings.Count(got, "\n") != 1 || strings.HasPrefix(got, "{") != isJSON {
			t.Errorf("format %q: got %q, terminal %v", format, got, terminal)
		}
	}
	var out bytes.Buffer
	if log, _, _ := newLogger(&out, nil); log == nil {
		t.Error("no logger for settings with faults")
	}
}
