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

// Bounds of a simulation's work. Replaying takes about half a microsecond a
// request and policy, so the longest takes some seconds of one core; one runs
// at a time on an instance, and the others wait for it.
const (
	MaxSimulatedRange    = 7 * 24 * time.Hour // as long as seconds are kept
	MaxSimulatedRequests = 2_000_000
)

// leadIn is how long before the range a simulation begins, so that its counters
// don't start full where the key was busy already. What longer periods hold of
// what came before is not in it.
const leadIn = time.Hour

// maxTimeline is how many buckets a timeline may have; timelineSteps are how
// wide they can be.
const maxTimeline = 600

var timelineSteps = []time.Duration{time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour}

// Simulate replays what a key sent in [from, to), second by second, against
// other policies, with the same engine that decides requests. Requests of one
// second are spread evenly between the first and the last of them; one that
// passes now and was refused then counts as a success. Only this key's
// requests count, also for policies per owner.
//
// Errors: *models.InvalidError (concurrency policies, for nobody recorded how
// long requests ran; a range with too many requests), models.ErrUnavailable,
// ctx's.
func (s *Service) Simulate(ctx context.Context, keyID string, policies []ratelimit.Policy, from, to time.Time) (models.Simulation, error) {
	var faults models.Faults
	for i, p := range policies {
		if p.Algorithm == ratelimit.Concurrency {
			faults.Add("not_recorded", "can't be simulated, for it isn't recorded how long requests ran: leave this policy out", "policies", strconv.Itoa(i), "algorithm")
		}
	}
	if err := faults.Err(); err != nil {
		return models.Simulation{}, err
	}
	from = from.Truncate(time.Second) // as it was recorded
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "simulated", Owner: "simulated"})
	if err != nil {
		return models.Simulation{}, fmt.Errorf("policies that were not checked: %w", err)
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
	for at := from.Add(-leadIn); at.Before(to); at = at.Add(leadIn) {
		// A piece at a time, so that a week is neither held in memory nor read
		// by one long query.
		rows, err := s.seconds(ctx, keyID, at, earlier(at.Add(leadIn), to))
		if err != nil {
			return models.Simulation{}, err
		}
		if err := r.replay(ctx, rows); err != nil {
			return models.Simulation{}, err
		}
	}
	return r.result, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// checkWork refuses a range with more requests than a simulation may replay.
func (s *Service) checkWork(ctx context.Context, keyID string, from, to time.Time) error {
	var requests int64
	err := s.db.QueryRow(ctx, `
		SELECT COALESCE(sum(succeeded + rejected + failed + refused), 0)::bigint FROM usage_seconds
		WHERE key_id = $1 AND at >= $2 AND at < $3`, keyID, from.Add(-leadIn), to).Scan(&requests)
	if err != nil {
		return postgres.Classify("read usage", err)
	}
	if requests <= MaxSimulatedRequests {
		return nil
	}
	var faults models.Faults
	faults.Add("max", fmt.Sprintf("there are %d requests from %s before the range to its end, and at most %d can be replayed: choose a shorter range",
		requests, leadIn, MaxSimulatedRequests), "to")
	return faults.Err()
}

// second is what a key sent in one second to routes of one group and cost.
type second struct {
	At                                   time.Time
	RouteGroup                           string
	Unit                                 int64
	Succeeded, Rejected, Failed, Refused int64
	FirstMS, LastMS                      int16

	admitted int64 `db:"-"` // by the simulation, so far
}

// nextOutcome is how the next request that is admitted ends: as those ended
// that were admitted when they were sent, in an even mix; beyond these, well.
func (s *second) nextOutcome() ratelimit.Outcome {
	bad, all := s.Failed+s.Rejected, s.Succeeded+s.Rejected+s.Failed
	i := s.admitted
	s.admitted++
	switch {
	case i >= all || !among(i, bad, all):
		return ratelimit.Succeeded
	case among(upTo(i, bad, all), s.Failed, bad):
		return ratelimit.Failed
	default:
		return ratelimit.Rejected
	}
}

// upTo is how many of the first i of all are special, when some of them are and
// these lie evenly, from the middle of their distance on.
func upTo(i, some, all int64) int64 { return (2*i*some + all) / (2 * all) }

// among says whether the i-th of all, from 0, is one of these.
func among(i, some, all int64) bool { return upTo(i+1, some, all) > upTo(i, some, all) }

func (s *Service) seconds(ctx context.Context, keyID string, from, to time.Time) ([]second, error) {
	rows, err := s.db.Query(ctx, `
		SELECT at, route_group, unit, succeeded, rejected, failed, refused, first_ms, last_ms FROM usage_seconds
		WHERE key_id = $1 AND at >= $2 AND at < $3 ORDER BY at, route_group, unit`, keyID, from, to)
	if err != nil {
		return nil, postgres.Classify("read usage", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[second])
	if err != nil {
		return nil, postgres.Classify("read usage", err)
	}
	return list, nil
}

// replay is a simulation under way.
type replay struct {
	quota   *ratelimit.Quota
	limiter *ratelimit.Limiter
	now     time.Time // the limiter's clock
	from    time.Time // what comes before is the lead-in, and not counted
	step    time.Duration
	result  models.Simulation

	reservation ratelimit.Reservation
	sent        []sent // of the second being replayed
}

// sent is one request of a row.
type sent struct {
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

// replay sends what the seconds tell, which are in order.
func (r *replay) replay(ctx context.Context, rows []second) error {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].At.Equal(rows[0].At) {
			n++
		}
		r.sent = r.sent[:0]
		for i := range rows[:n] {
			r.spread(&rows[i])
		}
		if n > 1 {
			slices.SortStableFunc(r.sent, func(a, b sent) int { return a.at.Compare(b.at) })
		}
		for i := range r.sent {
			if err := r.send(ctx, &r.sent[i]); err != nil {
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

// spread lays a row's requests out in time, evenly from the first to the last.
func (r *replay) spread(row *second) {
	n := row.Succeeded + row.Rejected + row.Failed + row.Refused
	first := row.At.Add(time.Duration(row.FirstMS) * time.Millisecond)
	width := time.Duration(row.LastMS-row.FirstMS) * time.Millisecond
	for i := range n {
		at := first
		if n > 1 {
			at = first.Add(time.Duration(float64(width) * float64(i) / float64(n-1)))
		}
		r.sent = append(r.sent, sent{at: at, row: row})
	}
}

// send lets the engine decide one request, and counts what it says.
func (r *replay) send(ctx context.Context, request *sent) error {
	r.now = request.at
	if err := r.limiter.Reserve(ctx, &r.reservation, r.quota, request.row.RouteGroup, request.row.Unit); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	d := &r.reservation.Decision
	if !request.at.Before(r.from) {
		r.count(request.at, d)
	}
	if d.Allowed {
		// ErrSettled: no policy applied. The store is memory, and doesn't fail.
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
