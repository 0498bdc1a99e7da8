package middleware

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"pgregory.net/rapid"
)

// anyText draws texts of all kinds: plain, quoted, control characters, invalid
// UTF-8, and long ones.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,40}`),
		rapid.StringMatching(`[a-z/"\\]{0,600}`),
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"", "\u2028", "\u200b", "\x7f", "\xff", "a<b>&c", "\x00", `\`, `"`, "ü"}),
	)
}

// bySlog encodes a line of level info as slog does.
func bySlog(at time.Time, message string, attrs []slog.Attr) string {
	var out bytes.Buffer
	record := slog.NewRecord(at, slog.LevelInfo, message, 0)
	record.AddAttrs(attrs...)
	_ = slog.NewJSONHandler(&out, nil).Handle(context.Background(), record) // a buffer takes everything
	return out.String()
}

func TestAppendLine_equals_slog(t *testing.T) {
	zones := []*time.Location{time.UTC, time.Local, time.FixedZone("east", 5*3600+1800), time.FixedZone("west", -3*3600)}
	value := rapid.OneOf(
		rapid.Map(anyText(), slog.StringValue),
		rapid.Map(rapid.Int(), slog.IntValue),
		rapid.Map(rapid.Float64(), slog.Float64Value),
		rapid.Map(rapid.Int64Range(0, math.MaxInt32), func(µs int64) slog.Value { return slog.Float64Value(float64(µs) / 1000) }),
		rapid.Map(rapid.Bool(), slog.BoolValue),
	)
	attr := rapid.Custom(func(t *rapid.T) slog.Attr {
		return slog.Attr{Key: rapid.StringMatching(`[a-z_]{1,12}`).Draw(t, "key"), Value: value.Draw(t, "value")}
	})
	encoded := 0
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).In(rapid.SampledFrom(zones).Draw(t, "zone"))
		attrs := rapid.SliceOfN(attr, 0, 12).Draw(t, "attrs")
		got, ok := appendLine([]byte("before"), at, "request", attrs)
		if !ok {
			return
		}
		encoded++
		if want := "before" + bySlog(at, "request", attrs); string(got) != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
	if encoded < 20 {
		t.Errorf("only %d lines were encoded by hand", encoded)
	}
}

func TestAppendLine_plain(t *testing.T) {
	for _, test := range []struct {
		value slog.Value
		plain bool
	}{
		{slog.StringValue(`GET /v1/products/a%20b?~ policy "burst" \ 'x'`), true}, {slog.StringValue(""), true}, {slog.IntValue(-1), true},
		{slog.Float64Value(0), true}, {slog.Float64Value(0.001), true}, {slog.Float64Value(1234567.891), true},
		{slog.StringValue("ü"), false}, {slog.StringValue("\x7f"), false}, {slog.StringValue("\n"), false}, {slog.StringValue("\xff"), false},
		{slog.Float64Value(1e-7), false}, {slog.Float64Value(1e21), false}, {slog.Float64Value(math.NaN()), false}, {slog.Float64Value(math.Inf(1)), false},
		{slog.Float64Value(-1), false}, {slog.AnyValue(errors.New("x")), false},
	} {
		if _, ok := appendLine(nil, time.Now(), "request", []slog.Attr{{Key: "k", Value: test.value}, slog.Int("after", 1)}); ok != test.plain {
			t.Errorf("%v: plain %v; want %v", test.value, ok, test.plain)
		}
	}
}

// lineHandler is a LineWriter.
type lineHandler struct {
	slog.Handler
	later bytes.Buffer
}

func (h *lineHandler) WriteLater(line []byte) { h.later.Write(line) }

// varying are the values that differ between two requests.
var varying = regexp.MustCompile(`"(time|duration_ms|request_id)":("[^"]*"|[0-9.e+-]+)`)

// A request gives the same line by hand as by slog, which has those that need it.
func TestLog_equals_slog(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	var reference, direct bytes.Buffer
	handler := &lineHandler{Handler: slog.NewJSONHandler(&direct, nil)}
	fail := func(c *gin.Context) {
		switch c.GetHeader("Fail") {
		case "":
			c.String(http.StatusOK, "ok")
		case "limited":
			Fail(c, &limitedError{detail: c.GetHeader("Text"), violated: []string{"burst", "minute"}})
		case "rejected":
			Fail(c, &httpError{http.StatusForbidden, "forbidden", c.GetHeader("Text")})
		default:
			Fail(c, errors.New(c.GetHeader("Text")))
		}
	}
	routers := map[*gin.Engine]*slog.Logger{gin.New(): slog.New(slog.NewJSONHandler(&reference, nil)), gin.New(): slog.New(handler)}
	for router, log := range routers {
		router.Use(Begin(nil), Log(log), RenderErrors())
		router.NoRoute(fail)
	}
	byHand := 0
	rapid.Check(t, func(t *rapid.T) {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.URL.Path = "/" + anyText().Draw(t, "path")
		r.Method = rapid.OneOf(rapid.Just(http.MethodGet), anyText()).Draw(t, "method")
		r.RemoteAddr = rapid.SampledFrom([]string{"127.0.0.1:1", "[::1]:1", "x"}).Draw(t, "address")
		failure := rapid.SampledFrom([]string{"", "", "limited", "rejected", "error"}).Draw(t, "failure")
		r.Header = http.Header{"Fail": {failure}, "Text": {anyText().Draw(t, "text")}}
		for router := range routers {
			router.ServeHTTP(httptest.NewRecorder(), r)
		}
		want := varying.ReplaceAllString(reference.String(), "")
		if got := varying.ReplaceAllString(handler.later.String()+direct.String(), ""); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
		if handler.later.Len() > 0 {
			byHand++
			if direct.Len() > 0 || failure == "error" || !json.Valid(handler.later.Bytes()) || strings.Count(handler.later.String(), "\n") != 1 {
				t.Fatalf("later: %s, at once: %s", handler.later.String(), direct.String())
			}
		}
		reference.Reset()
		direct.Reset()
		handler.later.Reset()
	})
	if byHand < 10 {
		t.Errorf("only %d lines were encoded by hand", byHand)
	}
}
