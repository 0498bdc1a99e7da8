package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// brokenLog is an EventLog whose call n panics, from 1 on.
type brokenLog struct{ calls, n int }

func (l *brokenLog) Wait(context.Context, models.EventStream, models.EventQuery, time.Duration) (models.EventPage, error) {
	if l.calls++; l.calls == l.n {
		panic("broken")
	}
	return models.EventPage{}, nil
}

// oneStream is a StreamService of one stream.
type oneStream struct{ closed chan error }

func (s *oneStream) Open(ctx context.Context, _ models.Scope) (*models.Stream, error) {
	ctx, end := context.WithCancelCause(ctx)
	return &models.Stream{Context: ctx, End: end, Close: func(reason error) { end(nil); s.closed <- reason }}, nil
}

// serveStreams serves streams of a log. released is called for their slots.
func serveStreams(t *testing.T, log EventLog, released func()) (url string, streams *oneStream) {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	streams = &oneStream{closed: make(chan error, 1)}
	h := NewEventStreams(log, streams, nil)
	router := gin.New()
	router.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
	router.Use(func(c *gin.Context) {
		c.Set(models.RequestKey, &models.Request{Key: &models.APIKey{Owner: "me"}, KeepSlots: func() func() { return released }})
	})
	router.GET("/v1/events", NewEvents(t.Context(), log, h).OfOwner)
	router.GET("/v1/events/ws", h.OfOwner)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server.URL, streams
}

// A panic ends only its stream, which gives its place and its slots back.
func TestEventStreams_panic(t *testing.T) {
	for _, n := range []int{1, 2} { // before the first event, and while it is followed
		t.Run("SSE", func(t *testing.T) {
			url, streams := serveStreams(t, &brokenLog{n: n}, func() {})
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/events", http.NoBody)
			request.Header.Set("Accept", "text/event-stream")
			response, err := http.DefaultClient.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
			if reason := <-streams.closed; !errors.Is(reason, models.StreamFailed) {
				t.Errorf("closed with %v; want %v", reason, models.StreamFailed)
			}
		})
	}
	t.Run("WebSocket", func(t *testing.T) {
		released := make(chan struct{}, 1)
		url, streams := serveStreams(t, &brokenLog{n: 2}, func() { released <- struct{}{} })
		conn, _, err := websocket.Dial(t.Context(), url+"/v1/events/ws", nil) //nolint:bodyclose // the library replaces the body
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = conn.Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusInternalError {
			t.Errorf("got %v; want 1011", err)
		}
		<-released
		if reason := <-streams.closed; !errors.Is(reason, models.StreamFailed) || !strings.Contains(reason.Error(), "streams_test.go") {
			t.Errorf("closed with %v; want %v with the stack", reason, models.StreamFailed)
		}
	})
}

// From the drain on, a wait is a poll, after which the client connects to another
// instance.
func TestEvents_wait_after_drain(t *testing.T) {
	serving, drain := context.WithCancel(t.Context())
	drain()
	recorder := httptest.NewRecorder()
	c, _ := gin.CreateTestContext(recorder)
	c.Request = httptest.NewRequest(http.MethodGet, "/v1/events?wait=30s", http.NoBody)
	request := &models.Request{Key: &models.APIKey{Owner: "me"}}
	c.Set(models.RequestKey, request)
	log := &timeoutLog{}
	NewEvents(serving, log, nil).OfOwner(c)
	if recorder.Code != http.StatusOK || recorder.Header().Get("Connection") != "close" || request.Free || log.timeout != 0 {
		t.Errorf("got %d with %v, free %t, wait %s; want a charged poll that closes the connection", recorder.Code, recorder.Header(), request.Free, log.timeout)
	}
}

// timeoutLog records the timeout of the last wait.
type timeoutLog struct{ timeout time.Duration }

func (l *timeoutLog) Wait(_ context.Context, _ models.EventStream, _ models.EventQuery, timeout time.Duration) (models.EventPage, error) {
	l.timeout = timeout
	return models.EventPage{}, nil
}
