package middleware

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
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
	router.NoMethod(MethodNotAllowed)
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
