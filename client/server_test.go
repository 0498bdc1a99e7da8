package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ratelimiter/client"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// fakeServer answers as the API does, with its engine. It runs in a synctest
// bubble.
type fakeServer struct {
	limiter *ratelimit.Limiter
	delay   func() time.Duration // in each direction; none by default
	work    func() time.Duration // of the handler; none by default
	status  func() int           // of an admitted request; 200 by default
	// nextUnit makes the parameter t what the API sends: the effective window.
	// Otherwise it is the time until the counter is full or its window ends.
	nextUnit bool

	mu       sync.Mutex
	quota    *ratelimit.Quota
	admitted []string // operations, in order
	refused  int
	running  int
	most     int // running at once
}

func newFakeServer(t testing.TB, policies ...ratelimit.Policy) *fakeServer {
	t.Helper()
	none := func() time.Duration { return 0 }
	s := &fakeServer{
		limiter: ratelimit.New(memory.New(), ratelimit.WithClock(time.Now)),
		delay:   none, work: none, status: func() int { return http.StatusOK },
	}
	s.set(t, policies...)
	return s
}

// set replaces the quota.
func (s *fakeServer) set(t testing.TB, policies ...ratelimit.Policy) {
	t.Helper()
	quota := newQuota(t, policies...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota = quota
}

func newQuota(t testing.TB, policies ...ratelimit.Policy) *ratelimit.Quota {
	t.Helper()
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "key", Owner: "owner"})
	if err != nil {
		t.Fatal(err)
	}
	return quota
}

func (s *fakeServer) client(t testing.TB, options client.Options) *client.Client {
	t.Helper()
	options.Base = s
	return newClient(t, &options)
}

func newClient(t testing.TB, options *client.Options) *client.Client {
	t.Helper()
	c, err := client.New("http://api.test", "key", options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// operations are the groups and costs of what the fake server serves.
var operations = map[string]struct {
	group string
	cost  int64
}{
	"GET /v1/products": {"products:read", 1},
	"GET /v1/orders":   {"orders:read", 1},
	"POST /v1/orders":  {"orders:write", 5},
}

// send sends a request of cost 1 or 5.
func send(ctx context.Context, c *client.Client, cost int) error {
	if cost == 5 {
		_, err := c.CreateOrder(ctx, nil, client.CreateOrderRequest{})
		return err
	}
	_, err := c.ListProducts(ctx, nil)
	return err
}

func (s *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := wait(r.Context(), s.delay()); err != nil {
		return nil, err
	}
	response := s.respond(r)
	if err := wait(r.Context(), s.delay()); err != nil {
		return nil, err
	}
	return response, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeServer) respond(r *http.Request) *http.Response {
	s.mu.Lock()
	quota := s.quota
	s.mu.Unlock()
	name := r.Method + " " + r.URL.Path
	op := operations[name]
	var reservation ratelimit.Reservation
	if err := s.limiter.Reserve(r.Context(), &reservation, quota, op.group, op.cost); err != nil {
		return reply(http.StatusInternalServerError, nil, nil)
	}
	decision := &reservation.Decision
	header := http.Header{}
	if field := quota.PolicyField(op.group); field != "" {
		header.Set("RateLimit-Policy", field)
		header.Set("RateLimit", limitField(decision, s.nextUnit))
	}
	if !decision.Allowed {
		s.locked(func() { s.refused++ })
		return refusal(header, decision)
	}
	s.locked(func() {
		s.admitted = append(s.admitted, name)
		s.running++
		s.most = max(s.most, s.running)
	})
	defer s.locked(func() { s.running-- })
	_ = reservation.Wait(r.Context())
	_ = wait(r.Context(), s.work())
	status := s.status()
	outcome := ratelimit.Succeeded
	if status >= 400 {
		outcome = ratelimit.Failed
	}
	_ = reservation.SettleUnits(r.Context(), outcome)
	_ = reservation.Release(r.Context()) // the slot
	return reply(status, header, map[string]any{"data": []any{}, "id": "x"})
}

func refusal(header http.Header, decision *ratelimit.Decision) *http.Response {
	body := map[string]any{"violated-policies": decision.Violated(), "retry_after": nil}
	if after, ever := decision.RetryAfter(); ever {
		header.Set("Retry-After", strconv.FormatInt(ratelimit.RetryAfterSeconds(after, 7), 10))
		body["retry_after"] = after.Seconds()
	}
	return reply(http.StatusTooManyRequests, header, body)
}

func (s *fakeServer) locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// limitField returns the RateLimit field, with either meaning of t.
func limitField(decision *ratelimit.Decision, nextUnit bool) string {
	var items []string
	for _, st := range decision.Statuses() {
		item := fmt.Sprintf("%q;r=%d", st.Policy.Name, st.Remaining)
		if reset := st.ResetAfter; st.Policy.Algorithm != ratelimit.Concurrency {
			if nextUnit {
				reset = st.EffectiveWindow
			}
			item += fmt.Sprintf(";t=%d", (reset+time.Second-1)/time.Second)
		}
		items = append(items, item)
	}
	return strings.Join(items, ", ")
}

// reply returns a response with a JSON body.
func reply(status int, header http.Header, body any) *http.Response {
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // the tests' bodies are valid JSON
	}
	header.Set("Content-Type", "application/json")
	if status >= 400 {
		header.Set("Content-Type", "application/problem+json")
	}
	return &http.Response{
		StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(data)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(data)),
	}
}

// randomUpTo returns a function that returns random durations; it is safe for
// concurrent use.
func randomUpTo(seed uint64, most time.Duration) func() time.Duration {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(random.Int64N(int64(most) + 1))
	}
}
