package allowance_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/internal/allowance"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

var (
	seeds     = flag.Int("seeds", 100, "number of simulations")
	firstSeed = flag.Uint64("seed", 1, "first seed; with -seeds 1 it replays one simulation")
)

// policies of a simulation: their limits are set from the seed. The token bucket
// refuses now and then, after the calendar policies have been taken. The policy in
// shadow mode may charge more than its limit.
func policies(rng *rand.Rand) []ratelimit.Policy {
	limit := func() int64 { return 20 + rng.Int64N(1<<(1+rng.IntN(10))) }
	return []ratelimit.Policy{
		{Name: "daily", Algorithm: ratelimit.Calendar, Limit: limit(), Period: ratelimit.Day},
		{Name: "company", Algorithm: ratelimit.Calendar, Limit: limit(), Period: ratelimit.Day, Per: ratelimit.PerOwner, Charge: ratelimit.Requests},
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 20, Period: "1s", Burst: 30},
		{Name: "trial", Algorithm: ratelimit.Calendar, Limit: limit(), Period: ratelimit.Day, Mode: ratelimit.Shadow},
	}
}

// period is one period of one policy.
type period struct {
	policy string
	start  int64
}

// durable is a Durable in memory that loses requests and replies and takes its
// time. Its guard is checked in the same step as the update, unless broken.
type durable struct {
	mu     sync.Mutex
	rng    *rand.Rand
	rows   map[period]*allowance.Reply
	names  map[allowance.Counter]string
	ended  map[period]int64 // units of epochs that a reset has ended
	broken string
	calm   bool // loses nothing, so that no waste hides what is admitted too much
}

var errLost = errors.New("connection lost")

func (d *durable) chance(percent int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.calm && d.rng.IntN(100) < percent
}

func (d *durable) delay(ctx context.Context) error {
	d.mu.Lock()
	pause := time.Duration(d.rng.IntN(20)) * time.Millisecond
	if !d.calm && d.rng.IntN(100) == 0 {
		pause = time.Duration(d.rng.IntN(4000)) * time.Millisecond
	}
	d.mu.Unlock()
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Apply implements allowance.Durable.
func (d *durable) Apply(ctx context.Context, requests []allowance.Request) ([]allowance.Reply, error) {
	if err := d.delay(ctx); err != nil || d.chance(2) {
		return nil, errors.Join(errLost, err)
	}
	replies := make([]allowance.Reply, len(requests))
	for i, r := range requests {
		seen := d.used(r)
		if d.broken == "guard in a subquery" {
			time.Sleep(200 * time.Millisecond) // other instances update the row in between
		}
		replies[i] = d.apply(r, seen)
		if d.broken == "lease returned twice" && r.Op == allowance.Return {
			d.apply(r, seen)
		}
	}
	if err := d.delay(ctx); err != nil || d.chance(2) {
		return nil, errors.Join(errLost, err)
	}
	return replies, nil
}

func (d *durable) row(r allowance.Request) *allowance.Reply {
	of := period{r.Policy, r.Start}
	if d.names != nil {
		d.names[r.Counter] = r.Policy
	}
	if d.rows[of] == nil {
		d.rows[of] = &allowance.Reply{Epoch: 1}
	}
	return d.rows[of]
}

func (d *durable) used(r allowance.Request) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.row(r).Used
}

func (d *durable) apply(r allowance.Request, seen int64) allowance.Reply {
	d.mu.Lock()
	defer d.mu.Unlock()
	row := d.row(r)
	row.Granted = 0
	if d.broken != "guard in a subquery" {
		seen = row.Used
	}
	switch r.Op {
	case allowance.Take:
		if seen+r.Need <= r.Limit {
			row.Granted = min(r.Limit-seen, max(r.Total, min(r.Want, (r.Limit-seen)/8)))
			row.Used += row.Granted
		}
	case allowance.Charge:
		row.Granted = r.Total
		if d.broken != "debt isn't charged" {
			row.Used += r.Total
		}
	case allowance.Return:
		if row.Epoch == r.Epoch && row.Used >= r.Total && d.broken != "lease isn't returned" {
			row.Granted = r.Total
			row.Used -= r.Total
		}
	case allowance.Read:
	}
	reply := *row
	if d.broken == "guard in a subquery" && r.Op == allowance.Take {
		reply.Used = seen + row.Granted // as the subquery saw it
	}
	return reply
}

// Reset implements allowance.Durable.
func (d *durable) Reset(ctx context.Context, counters []allowance.Counter, starts []int64) ([]int64, error) {
	if err := d.delay(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	epochs := make([]int64, len(counters))
	for i, c := range counters {
		of := period{d.names[c], starts[i]}
		if row := d.rows[of]; row != nil {
			d.ended[of] += row.Used
			row.Used, row.Epoch = 0, row.Epoch+1
			epochs[i] = row.Epoch
		}
	}
	return epochs, nil
}

// faultyStore is a memory store with one of the faults that the simulation must
// catch.
type faultyStore struct {
	*memory.Store
	broken string
}

// Exchange implements ratelimit.LeaseStore.
func (s faultyStore) Exchange(subject *ratelimit.Subject, p *ratelimit.Compiled, now int64, change func(ratelimit.State) (ratelimit.State, bool)) (uint32, error) {
	return s.Store.Exchange(subject, p, now, func(state ratelimit.State) (ratelimit.State, bool) {
		after, fresh := change(state)
		if s.broken == "prefetch counted twice" && after.X > state.X {
			after, fresh = change(after)
		}
		return after, fresh
	})
}

// Take implements ratelimit.Store.
func (s faultyStore) Take(ctx context.Context, b *ratelimit.Batch) error {
	if s.broken == "lease spent after its period" {
		now := b.Now
		defer func() { b.Now = now }()
		for i := range b.Steps {
			if p := b.Steps[i].Policy; p.Leasable() {
				start, _ := p.Bounds(now)
				if late := now - start; late < int64(20*time.Second) {
					b.Now = start - 1 // the old period's lease still works
				}
			}
		}
	}
	return s.Store.Take(ctx, b)
}

// Give implements ratelimit.Store.
func (s faultyStore) Give(ctx context.Context, b *ratelimit.Batch) error {
	if s.broken == "refund into another period" {
		for i := range b.Steps {
			if p := b.Steps[i].Policy; p.Leasable() && b.Steps[i].Give > 0 {
				b.Steps[i].State.At, b.Steps[i].State.M = p.Bounds(b.Now)
			}
		}
	}
	return s.Store.Give(ctx, b)
}

// instance is one process: a limiter over its own store.
type instance struct {
	limiter *ratelimit.Limiter
	service *allowance.Service
	store   ratelimit.Store
}

// world is a simulation: instances that share durable counters.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	durable *durable
	quota   *ratelimit.Quota
	lowered *ratelimit.Quota // the same counters with smaller limits
	stirred bool             // counters are reset and evicted
	broken  string

	mu       sync.Mutex
	admitted map[period]int64 // net units
	debts    map[period]int64
	refused  int
	failed   int
}

func (w *world) start() *instance {
	store := faultyStore{memory.New(), w.broken}
	service := allowance.New(w.durable, store, slog.New(slog.DiscardHandler))
	if err := service.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return &instance{service: service, store: store, limiter: ratelimit.New(store, ratelimit.WithClock(time.Now), ratelimit.WithAllowances(service))}
}

// request sends one request of a random cost and outcome.
func (w *world) request(in *instance, rng *rand.Rand) {
	cost := 1 + rng.Int64N(4)
	w.stir(in, rng)
	quota := w.quota
	if rng.IntN(4) == 0 {
		quota = w.lowered
	}
	var r ratelimit.Reservation
	err := in.limiter.Reserve(context.Background(), &r, quota, "", cost)
	if err != nil && !errors.Is(err, ratelimit.ErrNoLease) {
		w.t.Errorf("Reserve = %v", err)
	}
	if err != nil || !r.Decision.Allowed {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.failed++
		} else {
			w.refused++
		}
		return
	}
	at := time.Now().UnixNano()
	w.count(&r, at, cost)
	work := 200 * time.Millisecond
	if rng.IntN(20) == 0 {
		work = 20 * time.Second
	}
	time.Sleep(time.Duration(rng.Int64N(int64(work))))
	switch outcome := ratelimit.Outcome(rng.IntN(8)); outcome {
	case ratelimit.Failed, ratelimit.Rejected:
		// Before the refund, so that units which another request spends at once
		// aren't counted twice.
		w.uncount(&r, at, cost, outcome)
		_ = r.Settle(context.Background(), outcome)
	case 3:
		actual := rng.Int64N(2 * cost) // less is given back, more is a debt
		w.commit(&r, at, cost, actual)
		_ = r.Commit(context.Background(), actual)
	default:
		_ = r.Settle(context.Background(), ratelimit.Succeeded)
	}
}

// stir resets or evicts counters now and then.
func (w *world) stir(in *instance, rng *rand.Rand) {
	if !w.stirred {
		return
	}
	switch rng.IntN(100) {
	case 0:
		_ = in.limiter.Reset(context.Background(), w.quota, "daily", "company")
	case 1:
		_ = ratelimit.New(in.store, ratelimit.WithClock(time.Now)).Reset(context.Background(), w.quota)
	}
}

func (w *world) add(p *ratelimit.Compiled, at, units int64) {
	start, _ := p.Bounds(at)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.admitted[period{p.Name, start}] += units
}

func (w *world) count(r *ratelimit.Reservation, at, cost int64) {
	statuses := r.Decision.Statuses()
	for i := range statuses {
		w.add(statuses[i].Policy, at, cost)
	}
}

func (w *world) uncount(r *ratelimit.Reservation, at, cost int64, outcome ratelimit.Outcome) {
	statuses := r.Decision.Statuses()
	for i := range statuses {
		if p := statuses[i].Policy; outcome == ratelimit.Failed || p.Charge == ratelimit.Successes {
			w.give(p, at, cost)
		}
	}
}

func (w *world) commit(r *ratelimit.Reservation, at, cost, actual int64) {
	statuses := r.Decision.Statuses()
	for i := range statuses {
		if actual < cost {
			w.give(statuses[i].Policy, at, cost-actual)
		} else {
			w.owe(statuses[i].Policy, actual-cost)
		}
	}
}

func (w *world) owe(p *ratelimit.Compiled, units int64) {
	start, _ := p.Bounds(time.Now().UnixNano())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.debts[period{p.Name, start}] += units
}

// give uncounts units that a refund returns to their period, if it is the
// present one.
func (w *world) give(p *ratelimit.Compiled, at, units int64) {
	if now, _ := p.Bounds(time.Now().UnixNano()); now == first(p.Bounds(at)) {
		w.add(p, at, -units)
	}
}

func first(start, _ int64) int64 { return start }

// faults returns what is wrong at the end: more units admitted in a period than
// its limit, once for each reset, or than the durable counter knows of. If nothing
// was lost, it knows exactly of them in the last period.
func (w *world) faults(list []ratelimit.Policy) (faults []string) {
	limits := map[string]int64{}
	for _, p := range list {
		limits[p.Name] = p.Limit
	}
	for of, units := range w.admitted {
		row := w.durable.rows[of]
		if row == nil {
			continue // the burst
		}
		counted := row.Used + w.durable.ended[of]
		if limit := limits[of.policy] * row.Epoch; units > limit {
			faults = append(faults, fmt.Sprintf("%s: %d units admitted, limit %d", of.policy, units, limit))
		}
		if units > counted {
			faults = append(faults, fmt.Sprintf("%s: %d units admitted, %d counted", of.policy, units, counted))
		}
		last := of.start == time.Now().Truncate(24*time.Hour).UnixNano()
		if debt := w.debts[of]; last && w.durable.calm && !w.stirred && units+debt != counted {
			faults = append(faults, fmt.Sprintf("%s: %d units admitted and %d of debts, %d counted", of.policy, units, debt, counted))
		}
	}
	return faults
}

// run simulates 80 seconds around midnight: three instances under load that crash
// or stop, and start again.
func (w *world) run() {
	time.Sleep(23*time.Hour + 59*time.Minute + 20*time.Second + time.Duration(w.rng.IntN(39))*time.Second)
	var load sync.WaitGroup
	for range 3 {
		seed := w.rng.Uint64()
		load.Go(func() { w.live(seed) })
	}
	load.Wait()
}

// live runs one instance and its successors until the end.
func (w *world) live(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	end := time.Now().Add(80 * time.Second)
	for time.Now().Before(end) {
		in := w.start()
		until := time.Now().Add(time.Duration(5+rng.IntN(40)) * time.Second)
		var callers sync.WaitGroup
		for range 3 {
			calls := rand.New(rand.NewPCG(rng.Uint64(), 2))
			callers.Go(func() {
				for time.Now().Before(until) && time.Now().Before(end) {
					w.request(in, calls)
					time.Sleep(time.Duration(calls.IntN(300)) * time.Millisecond)
				}
			})
		}
		callers.Wait()
		if w.durable.calm || rng.IntN(2) == 0 || time.Now().After(end) {
			_ = in.service.Stop(context.Background()) // an error is waste
		} else {
			in.service.Crash()
		}
	}
}

// simulate returns the faults of a simulation.
func simulate(t *testing.T, seed uint64, broken string) (faults []string) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		list := policies(rng)
		quota, err := ratelimit.NewQuota(list, ratelimit.Subjects{Key: "k", Owner: "o"})
		if err != nil {
			t.Fatal(err)
		}
		low := slices.Clone(list)
		for i := range low {
			low[i].Limit = max(1, low[i].Limit*3/4)
		}
		lowered, err := ratelimit.NewQuota(low, quota.Subjects())
		if err != nil {
			t.Fatal(err)
		}
		w := &world{
			t: t, rng: rng, quota: quota, lowered: lowered, stirred: seed%4 >= 2, broken: broken, admitted: map[period]int64{}, debts: map[period]int64{},
			durable: &durable{
				rng: rand.New(rand.NewPCG(seed, 3)), rows: map[period]*allowance.Reply{}, names: map[allowance.Counter]string{},
				ended: map[period]int64{}, broken: broken, calm: seed%2 == 0,
			},
		}
		w.run()
		faults = w.faults(list)
	})
	return faults
}

func TestService_simulation(t *testing.T) {
	t.Parallel()
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		if faults := simulate(t, seed, ""); faults != nil {
			t.Fatalf("seed %d: %v", seed, faults)
		}
	}
}

// TestService_simulation_catches checks that the simulation finds each of these
// faults within a few seeds.
func TestService_simulation_catches(t *testing.T) {
	t.Parallel()
	for broken, first := range map[string]uint64{ // the first seed to try
		"guard in a subquery": 1, "refund into another period": 50, "lease spent after its period": 10, "lease returned twice": 1,
		"prefetch counted twice": 1, "lease isn't returned": 1, "debt isn't charged": 30,
	} {
		t.Run(broken, func(t *testing.T) {
			for seed := first; seed <= first+500; seed++ {
				if faults := simulate(t, seed, broken); faults != nil {
					t.Logf("seed %d: %v", seed, faults)
					return
				}
			}
			t.Error("not caught")
		})
	}
}
