package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"

	"ratelimiter/ratelimit"
)

// HistoriesVariable is the name of the environment variable that sets the number
// of histories that RunLinearizable checks.
const HistoriesVariable = "LINEARIZABILITY_HISTORIES"

// defaultHistories is the number of histories if HistoriesVariable isn't set.
const defaultHistories = "300"

// RunLinearizable checks that random concurrent histories of takes, releases,
// commits and peeks over the counters of two keys and their owner are linearizable. A take
// must therefore see all its counters at one instant, and a refused take must
// change none.
func RunLinearizable(t *testing.T, newStore Factory) {
	histories, err := strconv.Atoi(cmp.Or(os.Getenv(HistoriesVariable), defaultHistories))
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, newStore)
	for i := range histories {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		history := record(h, rng, drawSetup(h, rng, i))
		if !porcupine.CheckOperations(history.model(), history.operations) {
			t.Fatalf("history %d of %d operations is not linearizable:\n%s", i, len(history.operations), history)
		}
	}
	t.Logf("%d histories of %d goroutines", histories, workers)
}

// setup is two keys of one owner. Each has a policy per key and shares a policy
// per owner, so there are three counters: key 0, key 1 and the owner.
type setup struct {
	quotas   [2]*ratelimit.Quota
	capacity [3]int64
	slots    [3]bool // the counter's algorithm is concurrency
}

// drawSetup draws the policies of a history. Each history has subjects of its
// own. The clock doesn't advance, so every algorithm is a counter with a
// capacity.
func drawSetup(h *harness, rng *rand.Rand, history int) *setup {
	s := &setup{}
	algorithms := everyAlgorithm()
	draw := func(counter int, name string) ratelimit.Policy {
		p := algorithms[rng.IntN(len(algorithms))]
		for p.Algorithm == ratelimit.LeakyBucket { // gives back only the last request in the queue
			p = algorithms[rng.IntN(len(algorithms))]
		}
		p.Name, p.Limit = name, rng.Int64N(8)+2
		s.capacity[counter], s.slots[counter] = p.Limit, p.Algorithm == ratelimit.Concurrency
		return p
	}
	perOwner := draw(2, "per_owner")
	perOwner.Per = ratelimit.PerOwner
	for key := range s.quotas {
		policies := []ratelimit.Policy{draw(key, "per_key"), perOwner}
		if key == 1 {
			slices.Reverse(policies)
		}
		s.quotas[key] = h.quotaFor(ratelimit.Subjects{
			Key: strconv.Itoa(history) + "/" + strconv.Itoa(key), Owner: strconv.Itoa(history),
		}, policies...)
	}
	return s
}

// operation is the input and the result of one call.
type operation struct {
	kind     string // take, release or commit
	key      int
	cost     int64
	actual   int64 // of a commit
	perKey   int64 // Remaining of the policy per key after the call
	perOwner int64 // Remaining of the policy per owner after the call
	allowed  bool
}

// history is a setup and the operations on it.
type history struct {
	*setup
	operations []porcupine.Operation
}

// record runs a few operations concurrently in every worker.
func record(h *harness, rng *rand.Rand, s *setup) *history {
	const each = 4
	var clock atomic.Int64
	results := make([][]porcupine.Operation, workers)
	seed := rng.Uint64()
	var ready atomic.Int32
	runWorkers(func(w int) {
		// Without a common start, the first worker ends before the last begins.
		for ready.Add(1); ready.Load() < workers; {
			runtime.Gosched()
		}
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		var r ratelimit.Reservation
		var held bool
		var last operation
		for range each {
			key, cost := rng.IntN(2), rng.Int64N(4)
			op := operation{kind: "take", key: key, cost: cost}
			call := clock.Add(1)
			var err error
			switch action := rng.IntN(4); {
			case held && action < 2:
				op.kind, op.key, op.cost = "release", last.key, last.cost
				err = r.Release(ctx)
				held = false
			case held && action == 2:
				op = operation{kind: "commit", key: last.key, cost: last.cost, actual: rng.Int64N(8)}
				if op.actual == op.cost { // it would change, and report, nothing
					op.actual++
				}
				err = r.Commit(ctx, op.actual)
				held = false
			default:
				err = h.limiter.Reserve(ctx, &r, s.quotas[key], "", cost)
				held, last = r.Decision.Allowed && cost > 0, op
			}
			if err != nil {
				h.Error(err)
			}
			op.setResult(&r)
			results[w] = append(results[w], porcupine.Operation{ClientId: w, Input: op, Output: op, Call: call, Return: clock.Add(1)})
		}
	})
	return &history{setup: s, operations: slices.Concat(results...)}
}

// String returns the operations in the order of their calls.
func (h *history) String() string {
	slices.SortFunc(h.operations, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, o := range h.operations {
		fmt.Fprintf(&b, "%d–%d worker %d: %+v\n", o.Call, o.Return, o.ClientId, o.Output)
	}
	return fmt.Sprintf("capacities %v\n%s", h.capacity, b.String())
}

// setResult copies the call's result from r.
func (o *operation) setResult(r *ratelimit.Reservation) {
	o.allowed = r.Decision.Allowed
	for _, st := range r.Decision.Statuses() {
		if st.Policy.Name == "per_key" {
			o.perKey = st.Remaining
		} else {
			o.perOwner = st.Remaining
		}
	}
}

// counters is the units spent from key 0, key 1 and the owner.
type counters [3]int64

// model returns the sequential specification: three counters that are charged
// all or nothing.
func (h *history) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return counters{} },
		Step: func(state, input, output any) (bool, any) {
			used, op := state.(counters), output.(operation)
			perKey, perOwner := h.costOf(op.key, op.cost), h.costOf(2, op.cost)
			switch op.kind {
			case "release":
				perKey, perOwner = -perKey, -perOwner
			case "commit": // above the cost, it charges a debt
				perKey, perOwner = h.settled(op.key, op)-perKey, h.settled(2, op)-perOwner
			}
			allowed := op.kind != "take" || op.cost == 0 ||
				used[op.key]+perKey <= h.capacity[op.key] && used[2]+perOwner <= h.capacity[2]
			if allowed {
				used[op.key] += perKey
				used[2] += perOwner
			}
			ok := op.allowed == allowed &&
				op.perKey == max(0, h.capacity[op.key]-used[op.key]) && op.perOwner == max(0, h.capacity[2]-used[2])
			return ok, used
		},
	}
}

// settled returns what a commit leaves charged.
func (h *history) settled(counter int, op operation) int64 {
	if h.slots[counter] {
		return 0
	}
	return op.actual
}

func (h *history) costOf(counter int, cost int64) int64 {
	if h.slots[counter] {
		return min(cost, 1)
	}
	return cost
}
