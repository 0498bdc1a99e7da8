package middleware

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

func TestRenderErrors_overloaded(t *testing.T) {
	var log bytes.Buffer
	router := newRouter(&log)
	router.GET("/", func(c *gin.Context) { Fail(c, models.ErrOverloaded) })
	seen := map[string]bool{}
	for range 60 {
		recorder := httptest.NewRecorder()
		router.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		var problem Problem
		if err := json.Unmarshal(recorder.Body.Bytes(), &problem); err != nil || recorder.Code != http.StatusServiceUnavailable {
			t.Fatalf("got response %d %s; want a 503 problem", recorder.Code, recorder.Body)
		}
		if problem.Type != "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity" || problem.Status != 503 ||
			problem.Title != "Service Unavailable" || problem.Detail == "" {
			t.Fatalf("got problem %+v", problem)
		}
		after := recorder.Header().Get("Retry-After")
		if seconds, err := strconv.Atoi(after); err != nil || seconds < 1 || seconds > 4 {
			t.Fatalf("got Retry-After %q; want 1 to 4", after)
		}
		seen[after] = true
	}
	if len(seen) < 2 {
		t.Errorf("got the same Retry-After each time: %v; want jitter", seen)
	}
}
