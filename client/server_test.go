package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// server answers as the API does, with its engine and its header fields, after
// a journey that takes time, and by a clock of its own. It runs in a bubble of
// synctest, where time passes only when everybody waits.
type server struct {
	limiter  *ratelimit.Limiter
	policies []ratelimit.Policy
	// delay is how long a request travels, or its answer.
	delay func() time.Duration
	// work is how long a request takes, between them.
	work func() time.Duration
	// status is what a request is answered that was admitted.
	status func() int

	mu       sync.Mutex
	quota    *ratelimit.Quota
	refused  int
	admitted int
	running  int
	top      int // the most that ever ran at once
	looks    int
}

// newServer counts by policies. fast is by how many millionths its clock runs
// faster than the client's.
func newServer(policies []ratelimit.Policy, fast int64) (*server, error) {
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "key", Owner: "owner"})
	if err != nil {
		return nil, err
	}
	base := time.Now()
	now := func() time.Time {
		passed := time.Since(base)
		return base.Add(passed + passed/1_000_000*time.Duration(fast))
	}
	none := func() time.Duration { return 0 }
	return &server{
		limiter: ratelimit.New(memory.New(), ratelimit.WithClock(now)), policies: policies, quota: quota,
		delay: none, work: none, status: func() int { return http.StatusOK },
	}, nil
}

// spend takes units as somebody else would.
func (s *server) spend(ctx context.Context, units int) {
	var reservation ratelimit.Reservation
	for range units {
		if s.limiter.Reserve(ctx, &reservation, s.quota, "products:read", 1) == nil { // what is refused isn't spent
			_ = reservation.SettleUnits(ctx, ratelimit.Succeeded)
			_ = reservation.Release(ctx) // the slot
		}
	}
}

// set changes the quota.
func (s *server) set(policies ...ratelimit.Policy) error {
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "key", Owner: "owner"})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota, s.policies = quota, policies
	return nil
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	if !pause(r, s.delay()) {
		return nil, r.Context().Err()
	}
	response := s.answer(r)
	if r.Context().Err() != nil || !pause(r, s.delay()) {
		return nil, r.Context().Err()
	}
	response.Request = r
	return response, nil
}

// pause waits; false when the caller hangs up.
func pause(r *http.Request, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

func (s *server) answer(r *http.Request) *http.Response {
	s.mu.Lock()
	quota, policies := s.quota, s.policies
	s.mu.Unlock()
	switch r.URL.Path {
	case "/v1/me":
		return reply(http.StatusOK, nil, map[string]any{"quota": policies})
	case "/v1/me/limits":
		s.count(&s.looks, 1)
		return s.limits(r, quota)
	case "/v1/products":
		return s.limited(r, quota, "products:read", 1)
	case "/v1/orders":
		return s.limited(r, quota, "orders:write", 5)
	default:
		return reply(http.StatusNotFound, nil, nil)
	}
}

func (s *server) limits(r *http.Request, quota *ratelimit.Quota) *http.Response {
	decision, err := s.limiter.PeekAll(r.Context(), quota)
	if err != nil {
		return reply(http.StatusInternalServerError, nil, nil)
	}
	data := []map[string]any{}
	for _, st := range decision.Statuses() {
		data = append(data, map[string]any{
			"policy": st.Policy.Name, "algorithm": st.Policy.Algorithm, "limit": st.Limit, "remaining": st.Remaining,
			"reset_after": st.ResetAfter.Seconds(), "retry_after": st.RetryAfter.Seconds(), "mode": st.Policy.Mode, "charge": st.Policy.Charge,
		})
	}
	return reply(http.StatusOK, nil, map[string]any{"data": data})
}

func (s *server) limited(r *http.Request, quota *ratelimit.Quota, group string, cost int64) *http.Response {
	var reservation ratelimit.Reservation
	if err := s.limiter.Reserve(r.Context(), &reservation, quota, group, cost); err != nil {
		return reply(http.StatusInternalServerError, nil, nil)
	}
	decision := &reservation.Decision
	header := http.Header{}
	if field := quota.PolicyField(group); field != "" {
		header.Set("RateLimit-Policy", field)
	}
	if !decision.Allowed {
		s.count(&s.refused, 1)
		header.Set("RateLimit", string(decision.AppendField(nil)))
		body := map[string]any{"status": 429, "title": "Too Many Requests", "violated-policies": decision.Violated(), "retry_after": nil}
		if after, ever := decision.RetryAfter(); ever {
			header.Set("Retry-After", strconv.FormatInt(ratelimit.RetryAfterSeconds(after, 7), 10))
			body["retry_after"] = after.Seconds()
		}
		return reply(http.StatusTooManyRequests, header, body)
	}
	s.count(&s.admitted, 1)
	s.count(&s.running, 1)
	defer s.count(&s.running, -1)
	_ = reservation.Wait(r.Context())
	pause(r, s.work())
	status := s.status()
	outcome := ratelimit.Succeeded
	if status >= 500 {
		outcome = ratelimit.Failed
	} else if status >= 400 {
		outcome = ratelimit.Rejected
	}
	_ = reservation.SettleUnits(r.Context(), outcome)
	if field := decision.AppendField(nil); len(field) > 0 {
		header.Set("RateLimit", string(field))
	}
	_ = reservation.Release(r.Context())
	if status >= 400 {
		return reply(status, header, map[string]any{"status": status, "title": http.StatusText(status)})
	}
	return reply(status, header, map[string]any{"data": []any{}, "id": "x"})
}

func (s *server) count(what *int, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*what += by
	s.top = max(s.top, s.running)
}

func reply(status int, header http.Header, body any) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // the bodies above are maps of what JSON has
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
