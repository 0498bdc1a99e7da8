package usage

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Bounds of a simulation. Replaying takes about 0.5 µs per request and policy, so
// the longest simulation takes seconds of one core. An instance runs one at a
// time; others wait.
const (
	MaxSimulatedRange    = 7 * 24 * time.Hour // the retention of usage by second
	MaxSimulatedRequests = 2_000_000
)

// warmUp is the time before the range from which requests are replayed but not
// reported, so that counters don't start full for a busy key. Requests before it
// are missing from counters of longer periods.
const warmUp = time.Hour

// maxTimeline is the maximum number of buckets of a timeline. timelineSteps are
// the possible widths of a bucket.
const maxTimeline = 600

var timelineSteps = []time.Duration{time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour}

// Simulate replays the requests that a key sent in [from, to) against other
// policies, with the same engine that decides requests. Requests of a second are
// distributed evenly between its first and last arrival. A request that was
// refused and passes in the simulation is replayed as a success. Only requests of
// this key are replayed, also for policies per owner.
//
// The error is a *models.InvalidError for concurrency policies (durations of
// requests are not recorded) and for ranges with too many requests,
// models.ErrUnavailable, or ctx's.
func (s *Service) Simulate(ctx context.Context, keyID string, policies []ratelimit.Policy, from, to time.Time) (models.Simulation, error) {
	var faults models.Faults
	for i, p := range policies {
		if p.Algorithm == ratelimit.Concurrency {
			faults.Add("not_recorded", "can't be simulated, because the duration of requests is not recorded; remove this policy", "policies", strconv.Itoa(i), "algorithm")
		}
	}
	if err := faults.Err(); err != nil {
		return models.Simulation{}, err
	}
	from = from.Truncate(time.Second) // the resolution of usage by second
	quota, err := ratelimit.NewQuota(models.BoundQueues(policies), ratelimit.Subjects{Key: "simulated", Owner: "simulated"})
	if err != nil {
		return models.Simulation{}, fmt.Errorf("policies were not validated: %w", err)
	}
	if err := s.checkWork(ctx, keyID, from, to); err != nil {
		return models.Simulation{}, err
	}
	select {
	case s.simulating <- struct{}{}:
		defer func() { <-s.simulating }()
	case <-ctx.Done():
		return models.Simulation{}, ctx.Err()
	}
	r := newReplay(quota, s.newStore(), from, to)
	// Reading an hour at a time bounds memory and the duration of a query.
	for at := from.Add(-warmUp); at.Before(to); at = at.Add(time.Hour) {
		end := at.Add(time.Hour)
		if end.After(to) {
			end = to
		}
		rows, err := s.seconds(ctx, keyID, at, end)
		if err != nil {
			return models.Simulation{}, err
		}
		if err := r.replay(ctx, rows); err != nil {
			return models.Simulation{}, err
		}
	}
	return r.result, nil
}

// checkWork returns an error for a range with more than MaxSimulatedRequests. It
// stops counting when there are more seconds than that.
func (s *Service) checkWork(ctx context.Context, keyID string, from, to time.Time) error {
	var requests int64
	err := s.db.QueryRow(ctx, `
		SELECT COALESCE(sum(succeeded + rejected + failed + refused), 0)::bigint FROM (`+secondsOf+` LIMIT $4) AS u`,
		keyID, from.Add(-warmUp), to, MaxSimulatedRequests+1).Scan(&requests)
	if err != nil {
		return postgres.Classify("read usage", err)
	}
	if requests <= MaxSimulatedRequests {
		return nil
	}
	var faults models.Faults
	faults.Add("max", fmt.Sprintf("the range and the hour before it have at least %d requests, but at most %d can be replayed; choose a shorter range",
		requests, MaxSimulatedRequests), "to")
	return faults.Err()
}

// second is the requests of a key in one second to routes of one group and cost.
type second struct {
	At                                   time.Time
	RouteGroup                           string
	Unit                                 int64
	Succeeded, Rejected, Failed, Refused int64
	FirstMS, LastMS                      int16

	admitted int64 `db:"-"` // requests admitted by the simulation so far
}

// nextOutcome returns the outcome of the next admitted request. The recorded
// outcomes are interleaved evenly; requests beyond them succeed.
func (s *second) nextOutcome() ratelimit.Outcome {
	unsuccessful, all := s.Failed+s.Rejected, s.Succeeded+s.Rejected+s.Failed
	i := s.admitted
	s.admitted++
	switch {
	case i >= all || !selected(i, unsuccessful, all):
		return ratelimit.Succeeded
	case selected(selectedBefore(i, unsuccessful, all), s.Failed, unsuccessful):
		return ratelimit.Failed
	default:
		return ratelimit.Rejected
	}
}

// selectedBefore returns how many of the first i elements are selected if n of
// all elements are selected at even distances: i × n ÷ all, rounded.
func selectedBefore(i, n, all int64) int64 { return (2*i*n + all) / (2 * all) }

// selected reports whether element i, counted from 0, is selected.
func selected(i, n, all int64) bool { return selectedBefore(i+1, n, all) > selectedBefore(i, n, all) }

func (s *Service) seconds(ctx context.Context, keyID string, from, to time.Time) ([]second, error) {
	rows, err := s.db.Query(ctx, `
		SELECT at, route_group, unit, sum(succeeded)::bigint, sum(rejected)::bigint, sum(failed)::bigint, sum(refused)::bigint,
			min(first_ms)::smallint, max(last_ms)::smallint
		FROM (`+secondsOf+`) AS u GROUP BY key_id, at, route_group, unit ORDER BY at, route_group, unit`, keyID, from, to)
	if err != nil {
		return nil, postgres.Classify("read usage", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[second])
	if err != nil {
		return nil, postgres.Classify("read usage", err)
	}
	return list, nil
}

// replay is a running simulation.
type replay struct {
	quota   *ratelimit.Quota
	limiter *ratelimit.Limiter
	now     time.Time     // the limiter's clock
	from    time.Time     // end of the warm-up
	step    time.Duration // width of a bucket of the timeline
	result  models.Simulation

	reservation ratelimit.Reservation
	requests    []replayed // of the current second
}

// replayed is one request of a row.
type replayed struct {
	at  time.Time
	row *second
}

func newReplay(quota *ratelimit.Quota, store ratelimit.Store, from, to time.Time) *replay {
	r := &replay{quota: quota, from: from, step: timelineSteps[len(timelineSteps)-1]}
	for _, step := range slices.Backward(timelineSteps) {
		if to.Sub(from) <= step*maxTimeline {
			r.step = step
		}
	}
	r.limiter = ratelimit.New(store, ratelimit.WithClock(func() time.Time { return r.now }))
	r.result = models.Simulation{ByPolicy: map[string]int64{}, Timeline: []models.SimulatedUsage{}}
	for _, p := range quota.Policies() {
		r.result.ByPolicy[p.Name] = 0
	}
	return r
}

// replay replays the requests of rows, which must be ordered by time.
func (r *replay) replay(ctx context.Context, rows []second) error {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].At.Equal(rows[0].At) {
			n++
		}
		r.requests = r.requests[:0]
		for i := range rows[:n] {
			r.distribute(&rows[i])
		}
		if n > 1 {
			slices.SortStableFunc(r.requests, func(a, b replayed) int { return a.at.Compare(b.at) })
		}
		for i := range r.requests {
			if err := r.send(ctx, &r.requests[i]); err != nil {
				return err
			}
		}
		rows = rows[n:]
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// distribute adds the requests of a row, evenly from its first to its last
// arrival.
func (r *replay) distribute(row *second) {
	n := row.Succeeded + row.Rejected + row.Failed + row.Refused
	first := row.At.Add(time.Duration(row.FirstMS) * time.Millisecond)
	width := time.Duration(row.LastMS-row.FirstMS) * time.Millisecond
	for i := range n {
		at := first
		if n > 1 {
			at = first.Add(time.Duration(float64(width) * float64(i) / float64(n-1)))
		}
		r.requests = append(r.requests, replayed{at: at, row: row})
	}
}

// send decides one request and counts the decision, except during the warm-up.
func (r *replay) send(ctx context.Context, request *replayed) error {
	r.now = request.at
	if err := r.limiter.Reserve(ctx, &r.reservation, r.quota, request.row.RouteGroup, request.row.Unit); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	d := &r.reservation.Decision
	if !request.at.Before(r.from) {
		r.count(request.at, d)
	}
	if d.Allowed {
		// ErrSettled means that no policy applies. A memory store doesn't fail.
		_ = r.reservation.Settle(ctx, request.row.nextOutcome())
	}
	return nil
}

func (r *replay) count(at time.Time, d *ratelimit.Decision) {
	result := &r.result
	start := at.UTC().Truncate(r.step)
	if n := len(result.Timeline); n == 0 || !result.Timeline[n-1].Start.Equal(start) {
		result.Timeline = append(result.Timeline, models.SimulatedUsage{Start: start})
	}
	bucket := &result.Timeline[len(result.Timeline)-1]
	result.Requests++
	bucket.Requests++
	for _, statuses := range [][]ratelimit.Status{d.Statuses(), d.Shadows()} {
		for i := range statuses {
			if !statuses[i].Allowed {
				result.ByPolicy[statuses[i].Policy.Name]++
			}
		}
	}
	if d.Allowed {
		return
	}
	result.WouldRefuse++
	bucket.WouldRefuse++
	if result.FirstRefusalAt == nil {
		first := at.UTC().Truncate(time.Second)
		result.FirstRefusalAt = &first
	}
}
