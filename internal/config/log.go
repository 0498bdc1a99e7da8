package config

import (
	"fmt"
	"log/slog"
)

// LogFormat is a value of LOG_FORMAT.
type LogFormat string

// Formats of the log. The zero value is LogAuto.
const (
	LogAuto LogFormat = "auto" // text on a terminal, JSON elsewhere
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func parseLogFormat(text string) (LogFormat, error) {
	switch format := LogFormat(text); format {
	case LogAuto, LogText, LogJSON:
		return format, nil
	default:
		return "", fmt.Errorf("%q must be auto, text or json", text)
	}
}

func parseLogLevel(text string) (slog.Level, error) {
	switch text {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("%q must be debug, info, warn or error", text)
	}
}
