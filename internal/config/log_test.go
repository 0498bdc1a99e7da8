package config

import (
	"log/slog"
	"strings"
	"testing"
)

func TestSettings_log(t *testing.T) {
	s := settings()
	s.LogFormat, s.LogLevel = "text", "warn"
	cfg, err := s.Config()
	if err != nil || cfg.LogFormat != LogText || cfg.LogLevel != slog.LevelWarn {
		t.Errorf("got %+v, error %v", cfg, err)
	}
	s.LogFormat, s.LogLevel = "xml", "INFO"
	_, err = s.Config()
	if err == nil || !strings.Contains(err.Error(), `LOG_FORMAT: "xml" must be`) || !strings.Contains(err.Error(), `LOG_LEVEL: "INFO" must be`) {
		t.Errorf("got error %v; want both faults", err)
	}
}
