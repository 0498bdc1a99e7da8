package fallback_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
)

var (
	seeds     = flag.Int("seeds", 200, "number of simulations")
	firstSeed = flag.Uint64("seed", 1, "first seed; with -seeds 1 it replays one simulation")
)

// world is a simulation: instances that share a server.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	broken string
	whole  bool // all instances lose the server together; otherwise anything happens
	batchy bool // most reservations are long, and many are given back
	*record
	quotas    []*ratelimit.Quota
	accounts  *ratelimit.Quota
	instances atomic.Int64
	promoted  int64         // times that the server forgot something
	apart     time.Duration // that some instances were without the server

	all     []*recorder
	running []*instance
	outages []*outage
}

// outage is a time without the server for all.
type outage struct {
	from, to int64 // by the server's clock
	stale    map[*recorder]map[counter]int64
}

// instance is one process.
type instance struct {
	*recorder
	limiter *ratelimit.Limiter
	rate    float64 // requests a second
	stop    chan struct{}
	stopped sync.WaitGroup
}

// policies returns one of each of two algorithms, and the owner's.
func (w *world) policies() [][]ratelimit.Policy {
	limit := func(most int64) int64 { return 5 + w.rng.Int64N(most) }
	period := ratelimit.Period(fmt.Sprint(2+w.rng.IntN(40), "s"))
	all := []ratelimit.Policy{
		{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: limit(40), Period: period, Burst: limit(60)},
		{Name: "p", Algorithm: ratelimit.LeakyBucket, Limit: limit(40), Period: period, MaxWait: "1s"},
		{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: limit(40), Period: period},
		{Name: "p", Algorithm: ratelimit.SlidingWindow, Limit: 33 + limit(40), Period: period},
		{Name: "p", Algorithm: ratelimit.SlidingWindow, Limit: limit(28), Period: period},
		{Name: "p", Algorithm: ratelimit.SlidingLog, Limit: limit(40), Period: period},
		{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 2 + w.rng.Int64N(10), Hold: "5s"},
	}
	owner := ratelimit.Policy{Name: "owner", Algorithm: ratelimit.TokenBucket, Limit: limit(100), Period: "10s", Burst: limit(50), Per: ratelimit.PerOwner}
	if w.rng.IntN(2) == 0 {
		owner = ratelimit.Policy{Name: "owner", Algorithm: ratelimit.FixedWindow, Limit: 50 + limit(100), Period: "10s", Per: ratelimit.PerOwner}
	}
	first := w.rng.IntN(len(all))
	second := (first + 1 + w.rng.IntN(len(all)-1)) % len(all)
	return [][]ratelimit.Policy{{all[first]}, {all[second], owner}}
}

func (w *world) setUp() {
	bind := func(key string, list ...ratelimit.Policy) *ratelimit.Quota {
		q, err := ratelimit.NewQuota(list, ratelimit.Subjects{Key: key, Owner: "o"})
		if err != nil {
			w.t.Fatal(err)
		}
		return q
	}
	for i, list := range w.policies() {
		w.quotas = append(w.quotas, bind(fmt.Sprint("k", i), list...))
	}
	w.accounts = bind("account",
		ratelimit.Policy{Name: account, Algorithm: ratelimit.FixedWindow, Limit: 1e9, Period: "100d"},
		ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 20, Period: "5s"})
}

// join starts an instance.
func (w *world) join() {
	drift := 1 + (w.rng.Float64()-0.5)/5000
	off := time.Duration(w.rng.Int64N(int64(2*time.Hour))) - time.Hour
	began := time.Now()
	clock := func() time.Time {
		return began.Add(off + time.Duration(float64(time.Since(began))*drift))
	}
	l := newLink(w.server, w.rng.Uint64())
	if !w.whole {
		l.loss = w.rng.IntN(20)
	}
	instances := func() int { return int(max(1, w.instances.Load())) }
	if w.broken == "share isn't applied" {
		instances = func() int { return 1 }
	}
	s := fallback.New(l, fallback.Options{Instances: instances, Counters: 64, MirrorBytes: 1, Clock: func() int64 { return clock().UnixNano() }})
	s.SetRandom(l.float)
	r := &recorder{
		Store: s, record: w.record, link: l, broken: w.broken, open: map[*ratelimit.Batch][]*admission{},
		seen: map[counter]int64{}, shares: map[int]map[counter]float64{},
	}
	in := &instance{
		recorder: r, limiter: ratelimit.New(r, ratelimit.WithClock(clock)), stop: make(chan struct{}),
		rate: []float64{1, 4, 16}[w.rng.IntN(3)],
	}
	if err := s.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.instances.Add(1)
	w.all, w.running = append(w.all, r), append(w.running, in)
	for range 2 {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), 2))
		in.stopped.Go(func() {
			for {
				select {
				case <-in.stop:
					return
				case <-time.After(time.Duration(rng.ExpFloat64() * float64(2*time.Second) / in.rate)):
					w.request(in, rng)
				}
			}
		})
	}
}

// leave stops an instance in order.
func (w *world) leave(in *instance) {
	close(in.stop)
	in.stopped.Wait()
	w.instances.Add(-1)
	if err := in.Stop(context.Background()); err != nil && w.whole {
		w.t.Errorf("Stop = %v", err)
	}
}

// request sends one request of a random cost and outcome.
func (w *world) request(in *instance, rng *rand.Rand) {
	ctx := context.Background()
	quota, cost := w.quotas[rng.IntN(len(w.quotas))], 1+rng.Int64N(w.cost)
	if rng.IntN(4) == 0 {
		quota = w.accounts
	}
	r := new(ratelimit.Reservation)
	if err := in.limiter.Reserve(ctx, r, quota, "", cost); err != nil {
		w.t.Errorf("Reserve = %v", err)
		return
	}
	if !r.Decision.Allowed {
		return
	}
	work := 300
	if rng.IntN(8) == 0 || w.batchy {
		work = 4000
	}
	duration, outcome, actual := time.Duration(rng.IntN(work))*time.Millisecond, rng.IntN(10), cost+rng.Int64N(3)
	if w.batchy {
		outcome = rng.IntN(3)
	}
	in.stopped.Go(func() {
		time.Sleep(duration)
		var err error
		switch {
		case outcome == 0 && quota != w.accounts:
			err = r.Settle(ctx, ratelimit.Failed)
		case outcome == 1:
			err = r.Commit(ctx, actual)
		case outcome == 2 && quota != w.accounts:
			err = r.Commit(ctx, cost/2)
		default:
			err = r.Settle(ctx, ratelimit.Succeeded)
		}
		if err != nil {
			w.t.Errorf("settling = %v", err)
		}
	})
}

// run simulates some faults between times without any.
func (w *world) run() {
	for range 2 + w.rng.IntN(3) {
		w.join()
	}
	w.sleep(5, 15)
	for range w.rng.IntN(3) {
		if w.whole {
			w.loseServer()
		} else {
			w.anything()
		}
		w.sleep(8, 20)
	}
	w.calm()
	time.Sleep(15 * time.Second)
	for _, in := range w.running {
		w.leave(in)
	}
}

func (w *world) sleep(least, most int) {
	time.Sleep(time.Duration(least)*time.Second + time.Duration(w.rng.Int64N(int64(most-least)))*time.Second)
}

// calm ends all faults.
func (w *world) calm() {
	for _, r := range w.all {
		r.link.mu.Lock()
		r.link.loss = 0
		r.link.mu.Unlock()
		r.link.set(false, false, false)
	}
}

// loseServer lets no instance reach the server for some time.
func (w *world) loseServer() {
	w.mu.Lock()
	o := &outage{from: w.server.now(), stale: map[*recorder]map[counter]int64{}}
	w.outages = append(w.outages, o)
	w.outage = len(w.outages)
	for _, r := range w.all {
		o.stale[r] = map[counter]int64{}
		for c := range w.admissions {
			o.stale[r][c] = c.policy.Capacity()
			if _, known := r.seen[c]; known {
				o.stale[r][c] = w.shared[c] - r.seen[c]
			}
		}
		w.breakOnLoss(r)
	}
	w.mu.Unlock()
	hung := w.rng.IntN(2) == 0
	for _, r := range w.all {
		r.link.set(true, hung, false)
	}
	w.sleep(3, 25)
	o.to = w.server.now()
	for _, i := range w.rng.Perm(len(w.all)) {
		w.all[i].link.set(false, false, false)
		time.Sleep(time.Duration(w.rng.IntN(1000/len(w.all))) * time.Millisecond)
	}
}

// breakOnLoss makes an instance wrong when it loses the server.
func (w *world) breakOnLoss(r *recorder) {
	switch w.broken {
	case "starts from zero":
		for _, q := range append(w.quotas, w.accounts) {
			_ = ratelimit.New(r.Mirror()).Reset(context.Background(), q)
		}
	case "share isn't applied":
		r.ForgetTraffic()
	case "local clock":
		r.ForgetClock()
	}
}

// anything lets something fail for some instances.
func (w *world) anything() {
	switch w.rng.IntN(6) {
	case 0:
		w.join()
	case 1:
		if len(w.running) > 1 {
			in := w.running[0]
			w.running = w.running[1:]
			w.leave(in)
		}
	case 2:
		w.promoted++
		w.server.promote(w.rng.IntN(2) == 0)
	default:
		for _, r := range w.all {
			switch w.rng.IntN(4) {
			case 0:
				r.link.set(true, false, false)
			case 1:
				r.link.set(true, true, false)
			case 2:
				r.link.set(false, false, true)
			}
		}
		began := time.Now()
		w.sleep(1, 20)
		w.apart += time.Since(began) + 8*time.Second // until all have returned
		for _, r := range w.all {
			r.link.set(false, false, false)
		}
	}
}

// simulate returns the faults of a simulation.
func simulate(t *testing.T, seed uint64, broken string) (faults []string) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		server := newServer(rng, broken)
		w := &world{
			t: t, rng: rng, broken: broken, whole: seed%2 == 0, batchy: seed%3 == 0,
			record: &record{
				server: server, admissions: map[counter][]*admission{}, shared: map[counter]int64{},
				running: map[counter]int64{}, most: map[counter]int64{}, cost: []int64{1, 1, 2, 4}[rng.IntN(4)],
			},
		}
		w.setUp()
		stop := make(chan struct{})
		if !w.whole {
			go func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(max(server.lag, 10*time.Millisecond)):
						server.replicate()
					}
				}
			}()
		}
		w.run()
		close(stop)
		synctest.Wait()
		faults = w.faults()
	})
	return faults
}

func TestStore_simulation(t *testing.T) {
	t.Parallel()
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		if faults := simulate(t, seed, ""); faults != nil {
			t.Errorf("seed %d: %v", seed, faults)
		}
	}
}

// TestStore_simulation_catches checks that the simulation finds each of these
// faults within a few seeds.
func TestStore_simulation_catches(t *testing.T) {
	t.Parallel()
	for broken, first := range map[string]uint64{ // the first seed to try
		"starts from zero": 1, "share isn't applied": 190, "local clock": 1, "refund to another period": 96,
		"charge retried": 1, "ledger not reported": 1, "reported twice": 1,
	} {
		t.Run(broken, func(t *testing.T) {
			for seed := first; seed <= first+300; seed++ {
				if faults := simulate(t, seed, broken); faults != nil {
					t.Logf("seed %d: %v", seed, faults)
					return
				}
			}
			t.Error("not caught")
		})
	}
}
