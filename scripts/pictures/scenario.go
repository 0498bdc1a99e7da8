package main

import (
	"context"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// limit is the limit of every policy but that of concurrency.
const limit = 40

// A phase is a part of the pattern of requests. Times are in periods of the
// policy, so that a minute and a day have the same picture.
type phase struct {
	name     string
	from, to float64 // equal: all requests at once
	requests int
}

// pattern is what the caller sends, in all scenarios.
var pattern = []phase{
	{"burst", 0.9, 0.9, 30},
	{"steady", 1, 2, 30},
	{"over the limit", 2, 3, 80},
	{"idle", 3, 3.9, 0},
	{"two bursts", 3.9, 3.9, 50},
	{"two bursts", 4.1, 4.1, 50},
}

// The picture shows this part of the pattern: requests in columns of one length,
// the remaining units after steps of another. All are in periods.
const (
	begin, end = 0.5, 5.0
	column     = 1.0 / 20
	step       = 1.0 / 60
)

// scenario is the pattern under one policy.
type scenario struct {
	policy ratelimit.Policy
	period time.Duration
	runs   time.Duration // how long an admitted request runs
	layout string        // of the times below the picture
}

var scenarios = []scenario{
	minute(ratelimit.Policy{Algorithm: ratelimit.TokenBucket}),
	minute(ratelimit.Policy{Algorithm: ratelimit.LeakyBucket, MaxWait: "10s"}),
	minute(ratelimit.Policy{Algorithm: ratelimit.FixedWindow}),
	minute(ratelimit.Policy{Algorithm: ratelimit.SlidingWindow}),
	minute(ratelimit.Policy{Algorithm: ratelimit.SlidingLog}),
	{
		policy: ratelimit.Policy{Name: "day", Algorithm: ratelimit.Calendar, Limit: limit, Period: ratelimit.Day},
		period: 24 * time.Hour, layout: "Mon",
	},
	{
		policy: ratelimit.Policy{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 4},
		period: time.Minute, runs: 6 * time.Second, layout: "15:04",
	},
}

// minute completes a policy of limit units a minute.
func minute(p ratelimit.Policy) scenario {
	p.Name, p.Limit, p.Period = "minute", limit, "1m"
	return scenario{policy: p, period: time.Minute, layout: "15:04"}
}

// origin is the time of the pattern's start, a Monday.
var origin = time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)

// at returns a time of the pattern, in periods, as a time of the clock.
func (s *scenario) at(periods float64) time.Time {
	return origin.Truncate(s.period).Add(time.Duration(periods * float64(s.period)).Round(time.Millisecond))
}

// request is the result of one request. Times are in periods.
type request struct {
	phase    int
	at       float64
	starts   float64 // at, or its turn in a leaky bucket
	admitted bool
}

// trace is the result of a scenario.
type trace struct {
	requests  []request
	remaining []int64 // at the end of each step from begin on
	capacity  int64
}

// player sends requests through a limiter whose clock it sets.
type player struct {
	*scenario
	now     time.Time
	limiter *ratelimit.Limiter
	quota   *ratelimit.Quota
	running []running
}

// running is a request that holds a slot until a time.
type running struct {
	until time.Time
	*ratelimit.Reservation
}

func (s *scenario) player() (*player, error) {
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{s.policy}, ratelimit.Subjects{Key: "caller"})
	p := &player{scenario: s, quota: quota, now: s.at(0)}
	p.limiter = ratelimit.New(memory.New(), ratelimit.WithClock(func() time.Time { return p.now }))
	return p, err
}

// send sends a request of cost 1 at a time, after the end of those that have run.
func (p *player) send(at time.Time) (admitted bool, wait time.Duration, err error) {
	if err := p.advance(at); err != nil {
		return false, 0, err
	}
	r := &ratelimit.Reservation{}
	if err := p.limiter.Reserve(context.Background(), r, p.quota, "", 1); err != nil {
		return false, 0, err
	}
	if r.Decision.Allowed && p.runs > 0 {
		p.running = append(p.running, running{at.Add(p.runs), r})
	}
	return r.Decision.Allowed, r.Decision.Wait, nil
}

// advance sets the clock and ends the requests that have run until then.
func (p *player) advance(to time.Time) error {
	for len(p.running) > 0 && !p.running[0].until.After(to) {
		p.now = p.running[0].until
		if err := p.running[0].Release(context.Background()); err != nil {
			return err
		}
		p.running = p.running[1:]
	}
	p.now = to
	return nil
}

// status returns the policy's state at a time.
func (p *player) status(at time.Time) (ratelimit.Status, error) {
	if err := p.advance(at); err != nil {
		return ratelimit.Status{}, err
	}
	decision, err := p.limiter.PeekAll(context.Background(), p.quota)
	if err != nil {
		return ratelimit.Status{}, err
	}
	return decision.Statuses()[0], nil
}

// play sends the pattern.
func (s *scenario) play() (*trace, error) {
	p, err := s.player()
	if err != nil {
		return nil, err
	}
	pending := arrivals()
	var tr trace
	for n := 0; begin+float64(n)*step < end; n++ {
		after := begin + float64(n+1)*step
		for len(pending) > 0 && pending[0].at < after-step/1000 {
			r := pending[0]
			pending = pending[1:]
			var wait time.Duration
			if r.admitted, wait, err = p.send(s.at(r.at)); err != nil {
				return nil, err
			}
			r.starts = r.at + float64(wait)/float64(s.period)
			tr.requests = append(tr.requests, r)
		}
		status, err := p.status(s.at(after))
		if err != nil {
			return nil, err
		}
		tr.remaining, tr.capacity = append(tr.remaining, status.Remaining), status.Limit
	}
	return &tr, nil
}

// arrivals returns the requests of the pattern in their order.
func arrivals() (list []request) {
	for i, p := range pattern {
		for n := range p.requests {
			list = append(list, request{phase: i, at: p.from + (p.to-p.from)*float64(n)/float64(p.requests)})
		}
	}
	return list
}

// counts returns the requests of each phase, by its name, that were admitted,
// and all of the phase.
func (tr *trace) counts() (admitted, all map[string]int) {
	admitted, all = map[string]int{}, map[string]int{}
	for _, r := range tr.requests {
		name := pattern[r.phase].name
		all[name]++
		if r.admitted {
			admitted[name]++
		}
	}
	return admitted, all
}
