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
			t.Fatalf("response %d %s", recorder.Code, recorder.Body)
		}
		if problem.Type != "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity" || problem.Status != 503 ||
			problem.Title != "Service Unavailable" || problem.Detail == "" {
			t.Fatalf("problem %+v", problem)
		}
		after := recorder.Header().Get("Retry-After")
		if seconds, err := strconv.Atoi(after); err != nil || seconds < 1 || seconds > 4 {
			t.Fatalf("Retry-After %q", after)
		}
		seen[after] = true
	}
	if len(seen) < 2 {
		t.Errorf("every Retry-After is the same: %v", seen)
	}
}
