package middleware

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// No part of a request can make its log lines long.
func TestLog_bounded(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.Use(Begin(nil), Log(logger), Recover(logger), RenderErrors())
	router.NoRoute(NotFound)
	router.NoMethod(MethodNotAllowed(nil))
	router.GET("/error", func(c *gin.Context) { Fail(c, errors.New(c.GetHeader("Text"))) })
	router.GET("/panic", func(c *gin.Context) { panic(c.GetHeader("Text")) })
	for _, text := range []string{"a", "ü", "𝄞", "\x01", "\xff"} {
		long := strings.Repeat(text, 32<<10)
		for name, test := range map[string]struct {
			path, method, header string
			most                 int // bytes in the log
		}{
			"path":           {"/" + long, "", "", 2_000},
			"method":         {"/error", long, "", 8_000},
			"header":         {"/none", "", long, 500},
			"error":          {"/error", "", long, 7_000},
			"panic":          {"/panic", "", long, 26_000}, // with the stack
			"key at the cut": {"/" + strings.Repeat("a", maxLogged-12) + "rl_live_zyxwvutsrqpo_secret" + long, "", "", 2_000},
		} {
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.URL.Path = test.path
			if test.method != "" {
				r.Method = test.method
			}
			for _, field := range []string{"Text", "User-Agent", "X-Request-Id", "X-Forwarded-For", "Referer"} {
				r.Header.Set(field, test.header)
			}
			r.Host = test.header
			log.Reset()
			router.ServeHTTP(httptest.NewRecorder(), r)
			if n := log.Len(); n == 0 || n > test.most {
				t.Errorf("%s of %q: %d bytes of log; at most %d", name, text, n, test.most)
			}
			if got := log.String(); strings.Contains(got, "zyx") || !utf8.ValidString(got) || (name != "header" && !strings.Contains(got, "…")) {
				t.Errorf("%s of %q: logged %.400s", name, text, got)
			}
		}
	}
	if got := loggable(strings.Repeat("ü", 200), 255); got != strings.Repeat("ü", 127)+"…" {
		t.Errorf("cut to %q", got)
	}
}

// logOf returns the level, message and attributes of the one line that a request
// logs, nil for none.
func logOf(t *testing.T, level slog.Level, r *http.Request, handlers ...gin.HandlerFunc) map[string]any {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	var log bytes.Buffer
	router := gin.New()
	router.Use(Begin(nil), Log(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: level}))), RenderErrors())
	router.GET("/page/*any", handlers...)
	router.ServeHTTP(httptest.NewRecorder(), r)
	if log.Len() == 0 {
		return nil
	}
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("log %q: %v", log.String(), err)
	}
	return line
}

func TestLog_levels(t *testing.T) {
	ok := func(c *gin.Context) { c.String(http.StatusOK, "ok") }
	fails := func(err error) gin.HandlerFunc { return func(c *gin.Context) { Fail(c, err) } }
	// since makes a request look as if it had begun earlier.
	since := func(d time.Duration) gin.HandlerFunc {
		return func(c *gin.Context) { stateOf(c).started = time.Now().Add(-d) }
	}
	queued := func(c *gin.Context) {
		s := stateOf(c)
		s.limited, s.settled, s.reservation.Decision.Wait = true, true, time.Hour
	}
	for name, test := range map[string]struct {
		handlers []gin.HandlerFunc
		want     string // "": nothing at level info
	}{
		"success":                {[]gin.HandlerFunc{ok}, "INFO request"},
		"refused":                {[]gin.HandlerFunc{fails(&limitedError{})}, "INFO request"},
		"failure":                {[]gin.HandlerFunc{fails(errors.New("broken"))}, "ERROR request failed"},
		"overload":               {[]gin.HandlerFunc{fails(models.ErrOverloaded)}, "WARN request"},
		"slow":                   {[]gin.HandlerFunc{since(slowRequest), ok}, "WARN slow request"},
		"queued":                 {[]gin.HandlerFunc{since(2 * slowRequest), queued, ok}, "INFO request"},
		"stream":                 {[]gin.HandlerFunc{since(time.Hour), Stream(time.Minute, func(*http.Request) bool { return true }), ok}, "INFO request"},
		"page":                   {[]gin.HandlerFunc{Quiet(false), ok}, ""},
		"page, slow":             {[]gin.HandlerFunc{Quiet(false), since(slowRequest), ok}, ""},
		"unknown page":           {[]gin.HandlerFunc{Quiet(false), fails(models.ErrNotFound)}, "INFO request"},
		"failing page":           {[]gin.HandlerFunc{Quiet(false), fails(errors.New("broken"))}, "ERROR request failed"},
		"probe":                  {[]gin.HandlerFunc{Quiet(true), ok}, ""},
		"probe, not ready":       {[]gin.HandlerFunc{Quiet(true), fails(models.ErrUnavailable)}, ""},
		"probe, not ready, slow": {[]gin.HandlerFunc{Quiet(true), since(2 * slowRequest), fails(models.ErrUnavailable)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			line, got := logOf(t, slog.LevelInfo, httptest.NewRequest(http.MethodGet, "/page/x", http.NoBody), test.handlers...), ""
			if line != nil {
				got = line["level"].(string) + " " + line["msg"].(string)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if line := logOf(t, slog.LevelDebug, httptest.NewRequest(http.MethodGet, "/page/x", http.NoBody), Quiet(true), ok); line["level"] != "DEBUG" {
		t.Errorf("probe at level debug: got %v", line)
	}
}

func TestLog_violated_policies(t *testing.T) {
	refuse := func(c *gin.Context) {
		Fail(c, &limitedError{detail: "burst has 0 of 20 units left", violated: []string{"burst", "minute"}})
	}
	line := logOf(t, slog.LevelInfo, httptest.NewRequest(http.MethodGet, "/page/x", http.NoBody), refuse)
	if got := fmt.Sprint(line["violated_policies"]); got != "burst,minute" || line["status"] != 429.0 || line["error"] != "burst has 0 of 20 units left" {
		t.Errorf("got line %v", line)
	}
}

// Keys never reach the log, wherever a client sends them.
func TestLog_secrets(t *testing.T) {
	const secret = "zyxwvutsrqponmlkjihgf"
	const key = "rl_live_0123456789ab_" + secret
	percent := strings.ReplaceAll(key, "_", "%5F")
	echo := func(c *gin.Context) { Fail(c, errors.New("cannot read "+c.Request.URL.Path)) }
	for name, url := range map[string]string{"path": "/page/" + key, "encoded path": "/page/" + percent, "query": "/page/x?key=" + key, "encoded query": "/page/x?" + percent, "header": "/page/x"} {
		r := httptest.NewRequest(http.MethodGet, url, http.NoBody)
		if name == "header" {
			for _, field := range []string{"Authorization", "X-Api-Key", "X-Request-Id", "User-Agent", "Referer", "X-Forwarded-For", "Cookie"} {
				r.Header.Set(field, key)
			}
			r.Host = key
		}
		if line := fmt.Sprint(logOf(t, slog.LevelDebug, r, echo)); strings.Contains(line, secret) || !strings.Contains(line, "request failed") {
			t.Errorf("%s: logged %s", name, line)
		}
	}
}
