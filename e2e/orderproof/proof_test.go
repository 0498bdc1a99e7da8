package orderproof

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// twoServers are the servers of tests in which messages are retried at once.
var twoServers = servers{names: []string{server1, server2}, settings: []string{"RETRY_BASE=20ms", "RETRY_CAP=200ms"}}

// newSeed returns the seed of a test, and logs it.
func newSeed(t testing.TB) *rand.Rand {
	t.Helper()
	seed := *proofSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-proof-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestProof orders from two servers, each with workers, that use a payment gateway and
// a mail server. What the buyers, the gateway and the mail server saw must agree with
// the orders.
func TestProof(t *testing.T) {
	rng := newSeed(t)
	s := openShop(t)
	t.Run("kills", func(t *testing.T) { proveKills(t, s, rng) })
	t.Run("cancels", func(t *testing.T) { proveCancels(t, s, rng) })
	t.Run("last pieces", func(t *testing.T) { proveLastPieces(t, s) })
	for _, fault := range faults {
		t.Run("catches "+fault, func(t *testing.T) { catch(t, s, rng, fault) })
	}
}

// proveKills kills servers, gateway and Postgres while orders are placed and
// processed, and checks that nothing that was acknowledged is lost, nothing is done
// twice and what was begun is ended. make proof-orders does it with 5,000 orders and
// 30 kills of each.
func proveKills(t *testing.T, s *shop, rng *rand.Rand) {
	full := *proofKills >= 30
	want := twoServers
	if full {
		want.settings = nil
	}
	s.reopen(t, want)
	p := newProof(s, rng, *proofOrders)
	began := time.Now()
	p.run(rng, *proofKills, append(processes, postgresName)...)
	placed := time.Since(began)
	p.end(!full)
	o := s.observe(p.acknowledged, p.initial)
	s.report(o, o.faults())
	p.log(o, placed, time.Since(began))
}

// proof is a market whose processes are killed.
type proof struct {
	*market
	initial map[string]int64
	dead    int // letters, before the gateway recovered
}

// newProof plans orders, and stocks the products for them.
func newProof(s *shop, rng *rand.Rand, orders int) *proof {
	products := query(s, pgx.RowTo[string], `SELECT id FROM products ORDER BY id`)
	p := &proof{market: &market{shop: s, window: 300}, initial: stocks(orders, products)}
	for product, units := range p.initial {
		s.exec(`UPDATE products SET stock = $2 WHERE id = $1`, product, units)
	}
	p.todo = planOrders(rng, orders, len(s.buyers), products)
	return p
}

// run places all orders, and kills each process this often, in a random order but
// evenly over all orders.
func (p *proof) run(rng *rand.Rand, kills int, names ...string) {
	var victims []string
	for _, name := range names {
		victims = append(victims, slices.Repeat([]string{name}, kills)...)
	}
	rng.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	orders := len(p.todo)
	acknowledged := make(chan int, orders)
	placed := make(chan struct{})
	go func() {
		p.open(12, func(n int) { acknowledged <- n })
		close(placed)
	}()
	step := orders / (len(victims) + 1)
	for i, victim := range victims {
		for at := i*step + rng.IntN(step) + 1; <-acknowledged < at; {
		}
		p.kill(victim)
	}
	<-placed
}

// end waits until every order has ended or has a dead letter, lets the gateway
// recover, and puts the dead letters back until every order has ended.
func (p *proof) end(hurry bool) {
	p.Helper()
	if hurry {
		p.rescue()
	}
	p.settle(hurry)
	o := p.observe(p.acknowledged, p.initial)
	p.report(o, o.faults())
	p.dead = p.count(`SELECT count(*) FROM dead_letters`)
	p.callURL(p.ops[gateway]+"/dev/gateway/recover", http.MethodPost, nil, http.StatusOK, nil)
	for range 3 { // the circuit breaker may be open, and a few more deliveries fail
		p.call(server1, http.MethodPost, "/v1/admin/dead-letters/redrive", map[string]any{"dry_run": false}, http.StatusAccepted, nil)
		p.settle(hurry)
		if p.count(`SELECT count(*) FROM dead_letters`) == 0 {
			break
		}
	}
	if n := p.count(`SELECT count(*) FROM dead_letters`); n > 0 {
		p.Errorf("%d dead letters are left", n)
	}
	if n := p.count(`SELECT count(*) FROM orders WHERE status = 'pending'`); n > 0 {
		p.Errorf("%d orders are still pending", n)
	}
}

// log prints how the orders ended.
func (p *proof) log(o *observed, placed, done time.Duration) {
	ended, repeated := map[string]int{}, 0
	for _, order := range o.Orders {
		ended[string(order.Status)+" "+order.Reason]++
	}
	for _, mails := range o.Mails {
		for _, n := range mails {
			repeated += n - 1
		}
	}
	refused := 0
	for _, a := range o.Acknowledged {
		if a.Cancelled == http.StatusConflict {
			refused++
		}
	}
	p.Logf("%d orders placed in %s, done after %s: %v; %d cancellations refused; %d dead letters put back; %d emails repeated; at most %d failures of a message",
		len(o.Orders), placed.Round(time.Second), done.Round(time.Second), ended, refused, p.dead, repeated,
		p.count(`SELECT COALESCE(max(jsonb_array_length(args -> 'history')), 0) FROM river_job WHERE kind = 'delivery' AND jsonb_typeof(args -> 'history') = 'array'`))
}
