package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOpsHandler_profiles(t *testing.T) {
	handler := NewOpsHandler(nil, slog.New(slog.DiscardHandler))
	for path, want := range map[string]int{
		"/debug/pprof/": http.StatusOK, "/debug/pprof/heap": http.StatusOK, "/debug/pprof/cmdline": http.StatusOK,
		"/debug/pprof/none": http.StatusNotFound, "/debug/vars": http.StatusNotFound,
	} {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if recorder.Code != want || recorder.Body.Len() == 0 {
			t.Errorf("%s: got status %d; want %d", path, recorder.Code, want)
		}
	}
}
