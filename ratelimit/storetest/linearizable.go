package storetest

import (
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

// HistoriesVariable names the environment variable that says how many
// histories RunLinearizable checks.
const HistoriesVariable = "LINEARIZABILITY_HISTORIES"

// defaultHistories keeps the ordinary run short.
const defaultHistories = 300

// RunLinearizable checks random concurrent histories of takes, refunds and
// peeks over counters of two keys and their owner: there must be an order
// of the operations, compatible with what went before what, in which each gives
// the result that it gave. What a take sees of several counters must therefore
// be of one instant, and a refused one must have left no trace in any.
func RunLinearizable(t *testing.T, newStore Factory) {
	histories := defaultHistories
	if v := os.Getenv(HistoriesVariable); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		histories = n
	}
	h := newHarness(t, newStore)
	for i := range histories {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		history := record(h, rng, drawSetting(h, rng, i))
		if !porcupine.CheckOperations(history.model(), history.operations) {
			t.Fatalf("history %d of %d operations is not linearizable:\n%s", i, len(history.operations), history)
		}
	}
	t.Logf("%d histories of %d goroutines", histories, workers)
}

// setting is two keys of one owner, each with a policy of its own and one of
// the owner's: three counters in all.
type setting struct {
	quotas   [2]*ratelimit.Quota
	capacity [3]int64 // of key 0, key 1, the owner
	counts   [3]bool  // whether the counter counts requests, not units
}

// drawSetting uses subjects of its own for each history, so that none is left
// over from the one before. Time stands still, so that every algorithm is a
// counter with a capacity.
func drawSetting(h *harness, rng *rand.Rand, history int) *setting {
	s := &setting{}
	algorithms := everyAlgorithm()
	draw := func(counter int, name string) ratelimit.Policy {
		p := algorithms[rng.IntN(len(algorithms))]
		for p.Algorithm == ratelimit.LeakyBucket { // gives back its end only
			p = algorithms[rng.IntN(len(algorithms))]
		}
		p.Name, p.Limit = name, rng.Int64N(8)+2
		s.capacity[counter], s.counts[counter] = p.Limit, p.Algorithm == ratelimit.Concurrency
		return p
	}
	ours := draw(2, "ours")
	ours.Per = ratelimit.PerOwner
	for key := range s.quotas {
		policies := []ratelimit.Policy{draw(key, "mine"), ours}
		if key == 1 {
			slices.Reverse(policies)
		}
		s.quotas[key] = h.quotaFor(ratelimit.Subjects{
			Key: strconv.Itoa(history) + "/" + strconv.Itoa(key), Owner: strconv.Itoa(history),
		}, policies...)
	}
	return s
}

// operation is what one call was asked and what it said.
type operation struct {
	kind  string // take or release
	key   int
	cost  int64
	mine  int64 // remaining afterwards, as the call showed it
	ours  int64
	allow bool
}

// history is what happened.
type history struct {
	*setting
	operations []porcupine.Operation
}

// record lets every worker do a few operations at once.
func record(h *harness, rng *rand.Rand, s *setting) *history {
	const each = 4
	var clock atomic.Int64
	results := make([][]porcupine.Operation, workers)
	seeds := make([]uint64, workers)
	for i := range seeds {
		seeds[i] = rng.Uint64()
	}
	var ready atomic.Int32
	together(func(w int) {
		// All begin at once, or the first would be done before the last.
		for ready.Add(1); ready.Load() < workers; {
			runtime.Gosched()
		}
		rng := rand.New(rand.NewPCG(seeds[w], 2))
		var r ratelimit.Reservation
		var held bool
		var last operation
		for range each {
			key, cost := rng.IntN(2), rng.Int64N(4)
			op := operation{kind: "take", key: key, cost: cost}
			call := clock.Add(1)
			var err error
			switch {
			case held && rng.IntN(2) == 0:
				op.kind, op.key, op.cost = "release", last.key, last.cost
				err = r.Release(ctx)
				held = false
			default:
				err = h.limiter.Reserve(ctx, &r, s.quotas[key], "", cost)
				held, last = r.Decision.Allowed && cost > 0, op
			}
			if err != nil {
				h.Error(err)
			}
			op.see(&r)
			results[w] = append(results[w], porcupine.Operation{ClientId: w, Input: op, Output: op, Call: call, Return: clock.Add(1)})
		}
	})
	return &history{setting: s, operations: slices.Concat(results...)}
}

// String lists the operations by their calls.
func (h *history) String() string {
	slices.SortFunc(h.operations, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, o := range h.operations {
		fmt.Fprintf(&b, "%d–%d worker %d: %+v\n", o.Call, o.Return, o.ClientId, o.Output)
	}
	return fmt.Sprintf("capacities %v\n%s", h.capacity, b.String())
}

// see notes what the call has shown.
func (o *operation) see(r *ratelimit.Reservation) {
	o.allow = r.Decision.Allowed
	for _, st := range r.Decision.Statuses() {
		if st.Policy.Name == "mine" {
			o.mine = st.Remaining
		} else {
			o.ours = st.Remaining
		}
	}
}

// counters is the model's state: what is spent of key 0, key 1, the owner.
type counters [3]int64

// model is three counters, taken from all or nothing.
func (h *history) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return counters{} },
		Step: func(state, input, output any) (bool, any) {
			used, op := state.(counters), output.(operation)
			mine, ours := h.costOf(op.key, op.cost), h.costOf(2, op.cost)
			if op.kind == "release" {
				mine, ours = -mine, -ours
			}
			allow := op.kind == "release" || op.cost == 0 || used[op.key]+mine <= h.capacity[op.key] && used[2]+ours <= h.capacity[2]
			if allow {
				used[op.key] += mine
				used[2] += ours
			}
			ok := op.allow == allow && op.mine == h.capacity[op.key]-used[op.key] && op.ours == h.capacity[2]-used[2]
			return ok, used
		},
	}
}

func (h *history) costOf(counter int, cost int64) int64 {
	if h.counts[counter] {
		return min(cost, 1)
	}
	return cost
}
