package fallback_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/memory"
)

// fleet is instances that share a server.
type fleet struct {
	t      *testing.T
	server *server
	nodes  []*node
	log    bytes.Buffer
}

type node struct {
	*fallback.Store
	t       *testing.T
	link    *link
	limiter *ratelimit.Limiter
}

// newFleet starts n instances. It must be called in a bubble of synctest.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{t: t, server: &server{ahead: time.Hour, store: memory.New()}}
	log := slog.New(slog.NewTextHandler(&f.log, nil))
	for i := range n {
		l := newLink(f.server, uint64(i))
		s := fallback.New(l, fallback.Options{Instances: func() int { return n }, Log: log})
		s.SetRandom(l.float)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.nodes = append(f.nodes, &node{s, t, l, ratelimit.New(s, ratelimit.WithClock(time.Now))})
	}
	return f
}

func (f *fleet) stop() {
	for _, n := range f.nodes {
		_ = n.Stop(context.Background())
	}
}

// cut cuts all links, so that calls fail at once, or restores them.
func (f *fleet) cut(cut bool) {
	for _, n := range f.nodes {
		n.link.set(cut, false, false)
	}
}

// awaitReturn waits until all instances use the server again.
func (f *fleet) awaitReturn() {
	f.t.Helper()
	time.Sleep(10 * time.Second)
	for i, n := range f.nodes {
		if n.Figures().Down {
			f.t.Fatalf("instance %d hasn't returned", i)
		}
	}
}

// spend sends requests of one unit to the instances in turn until each refuses two
// in a row, or until most are admitted. It returns how many.
func (f *fleet) spend(q *ratelimit.Quota, most int, nodes ...*node) (admitted int) {
	f.t.Helper()
	for refused := 0; refused < 2*len(nodes) && admitted < most; {
		for _, n := range nodes {
			switch {
			case admitted == most:
			case n.take(q).Decision.Allowed:
				admitted, refused = admitted+1, 0
			default:
				refused++
			}
		}
	}
	return admitted
}

func (n *node) take(q *ratelimit.Quota) *ratelimit.Reservation {
	n.t.Helper()
	r := new(ratelimit.Reservation)
	if err := n.limiter.Reserve(context.Background(), r, q, "", 1); err != nil {
		n.t.Fatal(err)
	}
	return r
}

func quotaOf(t *testing.T, list ...ratelimit.Policy) *ratelimit.Quota {
	t.Helper()
	q, err := ratelimit.NewQuota(list, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// slowly are policies that restore nothing during a test.
func slowly(limit int64) []ratelimit.Policy {
	return []ratelimit.Policy{
		{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: limit, Period: "1d"},
		{Name: "p", Algorithm: ratelimit.LeakyBucket, Limit: limit, Period: "1d", MaxWait: "1d"},
		{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: limit, Period: "366d"},
		{Name: "p", Algorithm: ratelimit.SlidingWindow, Limit: limit, Period: "1d"},
		{Name: "p", Algorithm: ratelimit.SlidingLog, Limit: limit, Period: "1d"},
		{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: limit, Period: "1d", Per: ratelimit.PerOwner},
	}
}

// perPolicy runs a test for each policy, in a bubble.
func perPolicy(t *testing.T, list []ratelimit.Policy, test func(t *testing.T, q *ratelimit.Quota)) {
	for _, p := range list {
		t.Run(strings.TrimSuffix(fmt.Sprint(p.Algorithm, "_", p.Per), "_"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, quotaOf(t, p)) })
		})
	}
}

func wantBetween(t *testing.T, what string, got, least, most int) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: %d admitted, want %d to %d", what, got, least, most)
	}
}

// One period admits one quota: before an outage, during and after it. Above that,
// each instance may admit one request, and it doesn't know the last requests of the
// others before the outage.
func TestStore_one_quota(t *testing.T) {
	perPolicy(t, slowly(90), func(t *testing.T, q *ratelimit.Quota) {
		f := newFleet(t, 3)
		defer f.stop()
		before := f.spend(q, 30, f.nodes...)
		f.cut(true)
		during := f.spend(q, 1000, f.nodes...)
		wantBetween(t, "during", during, 57, 67)
		f.cut(false)
		f.awaitReturn()
		after := f.spend(q, 1000, f.nodes...)
		wantBetween(t, "in all", before+during+after, 87, 97)
	})
}

// A busy instance has most of what remains, an idle one has a part.
func TestStore_busy_instance(t *testing.T) {
	for _, broken := range []bool{false, true} {
		name := "share_by_traffic"
		if broken {
			name = "share_by_number"
		}
		t.Run(name, func(t *testing.T) {
			perPolicy(t, slowly(100), func(t *testing.T, q *ratelimit.Quota) {
				f := newFleet(t, 5)
				defer f.stop()
				f.spend(q, 50, f.nodes[0])
				if broken {
					f.nodes[0].ForgetTraffic()
				}
				f.cut(true)
				busy := f.spend(q, 1000, f.nodes[0])
				if broken {
					if busy >= 40 {
						t.Errorf("a broken share admits %d of 50", busy)
					}
					return
				}
				wantBetween(t, "the busy instance", busy, 40, 51)
				wantBetween(t, "an idle instance", f.spend(q, 1000, f.nodes[1]), 1, 21)
			})
		})
	}
}

// An instance that finds the server earlier waits until others have reported.
func TestStore_returns_after_reports(t *testing.T) {
	for _, broken := range []bool{false, true} {
		name := "after_all"
		if broken {
			name = "at_once"
		}
		t.Run(name, func(t *testing.T) {
			perPolicy(t, slowly(100), func(t *testing.T, q *ratelimit.Quota) {
				f := newFleet(t, 2)
				defer f.stop()
				a, b := f.nodes[0], f.nodes[1]
				if broken {
					a.ReturnAtOnce()
				}
				admitted := f.spend(q, 20, a, b)
				f.cut(true)
				admitted += f.spend(q, 1000, a, b)
				a.link.set(false, false, false)
				for i := range 100 {
					if i == 24 {
						b.link.set(false, false, false)
					}
					time.Sleep(100 * time.Millisecond)
					admitted += f.spend(q, 1000, a)
				}
				if got := admitted > 103; got != broken {
					t.Errorf("%d admitted of 100", admitted)
				}
			})
		})
	}
}

// A hung server delays few requests, by the timeout. It is used again when it
// answers, and each change is logged once.
func TestStore_hung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.stop()
		q := quotaOf(t, slowly(100)[0])
		n := f.nodes[0]
		n.take(q)
		n.link.set(true, true, false)
		slow := 0
		for range 10 {
			began := time.Now()
			if r := n.take(q); !r.Decision.Allowed || !r.Alone() {
				t.Fatalf("refused, or not alone: %+v", r.Decision)
			}
			switch waited := time.Since(began); waited {
			case 0:
			case fallback.DefaultTimeout:
				slow++
			default:
				t.Errorf("a request waited for %v", waited)
			}
		}
		if slow != 3 {
			t.Errorf("%d requests waited for the timeout, want 3", slow)
		}
		time.Sleep(time.Minute)
		n.link.set(false, false, false)
		f.awaitReturn()
		r := n.take(q)
		if left := r.Decision.Statuses()[0].Remaining; r.Alone() || left != 88 {
			t.Errorf("alone %v, %d remaining; want 88 of 100 in the server", r.Alone(), left)
		}
		got := n.Figures()
		want := fallback.Figures{Outages: 1, Alone: 10, Admitted: 10, Reported: 10}
		if got != want {
			t.Errorf("Figures = %+v, want %+v", got, want)
		}
		if lines := strings.Count(f.log.String(), "\n"); lines != 2 {
			t.Errorf("log:\n%s", &f.log)
		}
	})
}

// A caller that gives up is no failure of the server.
func TestStore_caller_gone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.stop()
		q := quotaOf(t, slowly(100)[0])
		f.nodes[0].link.set(true, true, false)
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			var r ratelimit.Reservation
			if err := f.nodes[0].limiter.Reserve(ctx, &r, q, "", 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Reserve = %v, want the caller's error", err)
			}
			cancel()
		}
		if f.nodes[0].Figures().Down {
			t.Error("the server is lost")
		}
	})
}

// The store's clock decides, also alone: here it is an hour ahead.
func TestStore_clock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.stop()
		f.server.ahead = 30 * time.Second // windows of the local clock end at other times
		q := quotaOf(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1m"})
		f.spend(q, 9, f.nodes[0])
		f.cut(true)
		r := f.nodes[0].take(q)
		left := time.Minute - time.Duration(f.server.now())%time.Minute
		if got := r.Decision.Statuses()[0].ResetAfter; got < left-50*time.Millisecond || got > left+50*time.Millisecond {
			t.Errorf("ResetAfter = %v, want %v", got, left)
		}
		if f.nodes[0].take(q).Decision.Allowed {
			t.Error("an eleventh request is allowed")
		}
		time.Sleep(left)
		if !f.nodes[0].take(q).Decision.Allowed {
			t.Error("a request in the next window is refused")
		}
	})
}

// slowFirst is a store whose first answer to a Take comes after the second.
type slowFirst struct {
	ratelimit.Store
	takes atomic.Int64
}

func (s *slowFirst) Take(ctx context.Context, b *ratelimit.Batch) error {
	first := s.takes.Add(1) == 1
	b.Now = time.Now().UnixNano()
	err := s.Store.Take(ctx, b)
	if first {
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// An answer that comes late doesn't overwrite a later one.
func TestStore_late_answer(t *testing.T) {
	perPolicy(t, slowly(100)[:4], func(t *testing.T, q *ratelimit.Quota) {
		s := fallback.New(&slowFirst{Store: memory.New()}, fallback.Options{})
		limiter := ratelimit.New(s)
		take := func() {
			if err := limiter.Reserve(context.Background(), new(ratelimit.Reservation), q, "", 1); err != nil {
				t.Error(err)
			}
		}
		var first sync.WaitGroup
		first.Go(take)
		time.Sleep(time.Millisecond)
		take()
		first.Wait()
		s.SetShared(down{})
		d, err := limiter.PeekAll(context.Background(), q)
		if err != nil || d.Statuses()[0].Remaining != 98 {
			t.Errorf("alone: %+v, error %v; want 98 remaining", d.Statuses(), err)
		}
	})
}

// What others spend between two requests, and a bucket drains, isn't seen. The
// instances allow for it.
func TestStore_unseen_traffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		defer f.stop()
		q := quotaOf(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 100, Period: "10s"})
		for range 20 {
			for _, n := range f.nodes {
				f.spend(q, 50, n)
				time.Sleep(10 * time.Second)
			}
		}
		f.cut(true)
		wantBetween(t, "alone, of 100", f.spend(q, 1000, f.nodes...), 80, 140)
	})
}
