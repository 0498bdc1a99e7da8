package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/handlers"
	"ratelimiter/internal/telemetry"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// oneProduct is a catalog of one product, without a database.
type oneProduct struct {
	handlers.ProductService // for the methods that aren't called
	product                 models.Product
	encoded                 models.Representation
}

func (p *oneProduct) Get(context.Context, string) (*models.Representation, error) {
	return &p.encoded, nil
}

func (p *oneProduct) List(context.Context, *models.Position, int) (models.Page[models.Product], error) {
	return models.Page[models.Product]{Data: []models.Product{p.product}}, nil
}

// routerConfig returns the middleware of the real server for one cached key with
// three policies, of which limit scales all.
func routerConfig(tb testing.TB, limit int64) RouterConfig {
	tb.Helper()
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: limit, Period: ratelimit.Every(time.Second)},
		{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: limit * 60, Period: ratelimit.Every(time.Minute)},
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: limit * 100_000, Period: ratelimit.Month},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		tb.Fatal(err)
	}
	newLimiter := func() *ratelimit.Limiter { return ratelimit.New(memory.New()) }
	return RouterConfig{
		Log:    slog.New(discardLines{slog.NewJSONHandler(io.Discard, nil)}),
		Quotas: &testkit.OneKey{Key: models.APIKey{ID: "k", Owner: "o", Subject: "k", Scopes: models.DefaultScopes()}, Quota: quota},
		Fields: middleware.FieldsDraft11, Failures: middleware.NewFailureLimiter(newLimiter()), Limiter: newLimiter(), BuiltIn: newLimiter(),
		Anonymous: ratelimit.New(memory.New(), ratelimit.WithClock(everySecond())), Meter: telemetry.NewTraffic(),
	}
}

// everySecond returns a clock that advances a second with each call.
func everySecond() func() time.Time {
	now := time.Now()
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

// discardLines is a middleware.LineWriter, as the handler of the server's log is.
type discardLines struct{ slog.Handler }

func (discardLines) WriteLater([]byte) {}

// realRouter returns the real router and middleware around a stubbed catalog.
func realRouter(tb testing.TB, limit int64) http.Handler {
	tb.Helper()
	return routerOf(routerConfig(tb, limit))
}

func routerOf(cfg RouterConfig) http.Handler {
	cursors := handlers.NewCursors([]byte("secret"))
	products := &oneProduct{product: models.Product{ID: "p", Name: "n"}}
	products.encoded, _ = handlers.EncodeProduct(products.product) // has no errors
	return NewRouter(Handlers{
		Products: handlers.NewProducts(products, cursors),
		Me:       handlers.NewMe(nil, cfg.Limiter),
	}, cfg)
}

// discardWriter is a response writer without allocations.
type discardWriter struct{ header http.Header }

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *discardWriter) WriteHeader(int)             {}

func requestFor(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer rl_live_x")
	return r
}

// The allocations of the whole chain, from the router to the encoded response,
// without net/http's own and without the database's.
func TestRouter_allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates") // 'make test' runs this test without it too
	}
	for _, test := range []struct {
		name, path string
		limit      int64
		atMost     float64
	}{
		{"one product", "/v1/products/p", 1_000_000, 6},
		{"a page of products", "/v1/products", 1_000_000, 13},
		{"refused", "/v1/products/p", 1, 8},
		{"own key", "/v1/me", 1_000_000, 13},
		{"own limits", "/v1/me/limits", 1_000_000, 13},
		{"unknown path", "/nowhere", 1_000_000, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			router, r, w := realRouter(t, test.limit), requestFor(test.path), &discardWriter{http.Header{}}
			got := testing.AllocsPerRun(1000, func() {
				clear(w.header)
				router.ServeHTTP(w, r)
			})
			t.Logf("%v allocations", got)
			if got > test.atMost {
				t.Errorf("%v allocations; at most %v", got, test.atMost)
			}
		})
	}
}

func TestRouter_built_in_rates(t *testing.T) {
	cfg, now := routerConfig(t, 1_000_000), time.Unix(1_700_000_000, 0)
	cfg.BuiltIn = ratelimit.New(memory.New(), ratelimit.WithClock(func() time.Time { return now }))
	router := NewRouter(Handlers{Me: handlers.NewMe(nil, cfg.Limiter)}, cfg)
	send := func(method, path string) *httptest.ResponseRecorder {
		r, w := requestFor(path), httptest.NewRecorder()
		r.Method = method
		router.ServeHTTP(w, r)
		return w
	}
	for _, test := range []struct {
		method, path string
		status, rate int
		violated     string
	}{ // in this order: the rates are counted separately
		{http.MethodGet, "/v1/me/limits", http.StatusOK, 50, `["built-in"]`},
		{http.MethodGet, "/v1/admin/audit", http.StatusForbidden, 1000, `["built-in-admin"]`}, // a scope is missing
		{http.MethodPost, "/v1/limits/check", http.StatusForbidden, 0, ""},
	} {
		for i := range max(test.rate, 2000) {
			w := send(test.method, test.path)
			if test.rate > 0 && i >= test.rate {
				detail := fmt.Sprintf("limited to %d requests a second", test.rate)
				if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), detail) || !strings.Contains(w.Body.String(), test.violated) {
					t.Errorf("%s, request %d: %d %s", test.path, i+1, w.Code, w.Body)
				}
				break
			}
			if w.Code != test.status {
				t.Fatalf("%s, request %d: %d %s, want %d", test.path, i+1, w.Code, w.Body, test.status)
			}
		}
	}
}

// wrappedWriter is what other middleware may put around gin's writer.
type wrappedWriter struct{ gin.ResponseWriter }

func TestRouter_with_a_wrapped_writer(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	cfg := routerConfig(t, 1)
	router := gin.New()
	router.Use(middleware.Begin(nil), middleware.Headers(), middleware.Log(cfg.Log), middleware.Recover(cfg.Log), middleware.RenderErrors(),
		func(c *gin.Context) { c.Writer = wrappedWriter{c.Writer} })
	route := Route{Method: http.MethodGet, Path: "/", Scope: models.ScopeProductsRead, Cost: 1, Handler: func(c *gin.Context) { c.String(http.StatusOK, "hello") }}
	router.GET("/", cfg.chain(route, nil, middleware.Authenticate(cfg.Quotas, cfg.Failures))...)
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, requestFor("/"))
		if w.Code != want || !strings.Contains(w.Header().Get("RateLimit"), `"burst";r=0`) {
			t.Errorf("request %d: %d %v %s", i+1, w.Code, w.Header(), w.Body)
		}
	}
}

func TestRoute_options(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	var deadline time.Time
	var bounded bool
	var request *models.Request
	handler := func(c *gin.Context) {
		deadline, bounded = c.Request.Context().Deadline()
		request = models.RequestFrom(c.Request.Context())
		c.String(http.StatusOK, "x")
	}
	for _, test := range []struct {
		name   string
		route  Route
		accept string
		check  func() bool
	}{
		{"default timeout", Route{}, "", func() bool { return bounded && time.Until(deadline) > defaultTimeout/2 && request.Key != nil }},
		{"own timeout", Route{Timeout: time.Hour}, "text/event-stream", func() bool { return bounded && time.Until(deadline) > time.Hour/2 }},
		{"stream", Route{Stream: true, Timeout: time.Hour}, "text/event-stream", func() bool { return !bounded && request.Key != nil && request.KeepSlots != nil }},
		{"no stream", Route{Stream: true, Timeout: time.Hour}, "application/json", func() bool { return bounded && time.Until(deadline) > time.Hour/2 }},
		{"stream by a range", Route{Stream: true, Timeout: time.Hour}, "application/json;q=0.1, Text/*", func() bool { return !bounded }},
		{"JSON preferred", Route{Stream: true, Timeout: time.Hour}, "application/json, text/event-stream;q=0.1", func() bool { return bounded }},
		{"public", Route{Public: true}, "", func() bool { return request.Key == nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := routerConfig(t, 1000)
			router := gin.New()
			router.Use(middleware.Begin(nil), middleware.RenderErrors())
			test.route.Handler = handler
			router.GET("/v1/events", cfg.chain(test.route, func(*gin.Context) {}, middleware.Authenticate(cfg.Quotas, cfg.Failures))...)
			w, r := httptest.NewRecorder(), requestFor("/v1/events")
			r.Header.Set("Accept", test.accept)
			router.ServeHTTP(w, r)
			if w.Code != http.StatusOK || !test.check() {
				t.Errorf("%d %s: deadline %v %v, request %+v", w.Code, w.Body, deadline, bounded, request)
			}
		})
	}
}

// A stream may run longer than the server's write timeout.
func TestRoute_stream_outlives_the_write_timeout(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	proceed := make(chan struct{})
	cfg := routerConfig(t, 1000)
	router := gin.New()
	router.Use(middleware.Begin(nil), middleware.RenderErrors())
	router.GET("/v1/events", cfg.chain(Route{Stream: true, Handler: func(c *gin.Context) {
		_, _ = c.Writer.WriteString("first\n")
		c.Writer.Flush()
		<-proceed
		_, _ = c.Writer.WriteString("second\n")
	}}, nil, middleware.Authenticate(cfg.Quotas, cfg.Failures))...)
	server := httptest.NewUnstartedServer(router)
	server.Config.WriteTimeout = 50 * time.Millisecond
	server.Start()
	defer server.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: k\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() || lines.Text() != "first" {
		t.Fatalf("read %q, %v", lines.Text(), lines.Err())
	}
	time.AfterFunc(2*server.Config.WriteTimeout, func() { close(proceed) })
	if !lines.Scan() || lines.Text() != "second" {
		t.Errorf("read %q, %v", lines.Text(), lines.Err())
	}
}

// BenchmarkRouter measures the whole chain without net/http and database.
func BenchmarkRouter(b *testing.B) {
	for name, path := range map[string]string{"product": "/v1/products/p", "page": "/v1/products", "refused": "/v1/products/p", "key": "/v1/me", "unknown": "/nowhere"} {
		limit := int64(1_000_000)
		if name == "refused" {
			limit = 1
		}
		b.Run(name, func(b *testing.B) {
			router, r, w := realRouter(b, limit), requestFor(path), &discardWriter{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				router.ServeHTTP(w, r)
			}
		})
	}
}

func TestIsStream(t *testing.T) {
	for _, r := range Routes(Handlers{}) {
		request := httptest.NewRequest(r.Method, r.Path, http.NoBody)
		request.Header.Set("Upgrade", "websocket")
		request.Header.Set("Accept", "text/event-stream")
		if got := isStream(request); got != r.Stream {
			t.Errorf("%s: got %t; want %t", r.Name(), got, r.Stream)
		}
		request.Header.Del("Accept")
		if got, want := isStream(request), strings.HasSuffix(r.Path, "/ws"); got != want {
			t.Errorf("%s with an upgrade only: got %t; want %t", r.Name(), got, want)
		}
	}
}
