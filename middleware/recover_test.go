package middleware

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

func newRouter(log *bytes.Buffer) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	logger := slog.New(slog.NewJSONHandler(log, nil))
	router := gin.New()
	router.Use(Begin(nil), Log(logger), Recover(logger), RenderErrors())
	return router
}

func TestRecover_sends_500_and_logs_stack(t *testing.T) {
	var log bytes.Buffer
	router := newRouter(&log)
	router.GET("/", func(*gin.Context) { panic("secret rl_live_0123456789ab_0123456789012345678901234567") })
	recorder := httptest.NewRecorder()
	router.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	var problem Problem
	if err := json.Unmarshal(recorder.Body.Bytes(), &problem); err != nil || recorder.Code != 500 || problem.Status != 500 {
		t.Fatalf("got response %d %s; want a 500 problem", recorder.Code, recorder.Body)
	}
	if strings.Contains(recorder.Body.String(), "secret") {
		t.Errorf("the response contains the panic: %s", recorder.Body)
	}
	if !strings.Contains(log.String(), "recover_test.go") || strings.Contains(log.String(), "_01234567890123") {
		t.Errorf("want a log with the stack and without the key:\n%s", log.String())
	}
}

func TestRecover_aborts_started_response(t *testing.T) {
	var log bytes.Buffer
	router := newRouter(&log)
	router.GET("/", func(c *gin.Context) {
		c.String(http.StatusOK, "the first half")
		panic("oh")
	})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // net/http compares the value
			t.Fatalf("got panic %v; want http.ErrAbortHandler", p)
		}
		if !strings.Contains(log.String(), `"panic":"oh"`) {
			t.Errorf("the panic is missing in the log:\n%s", log.String())
		}
	}()
	router.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}
