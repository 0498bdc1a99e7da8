package events

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// The proofs below run against the log and against broken variants, which they must
// catch. docs/concepts/realtime.md has the table.

// feedVariant is how a feed is written and read.
type feedVariant struct {
	name   string
	append string // query
	read   string // query
}

var feedVariants = []feedVariant{
	{"product", appendQuery, feedQuery},
	{"reads what is committed: id > cursor", appendQuery, strings.Replace(feedQuery, "AND o.feed < bound.feed", "", 1)},
	{"ordered by transaction id alone", strings.Replace(appendQuery, ", (SELECT feed FROM last))", ")", 1), feedQuery},
}

// A feed has every event once and each order's in order, however the transactions
// run: they begin early and commit late, wait for each other, roll back.
func TestLog_feed_order(t *testing.T) {
	for i, v := range feedVariants {
		t.Run(v.name, func(t *testing.T) {
			if i > 0 && (v.append == appendQuery) == (v.read == feedQuery) {
				t.Fatal("the variant isn't different in one respect")
			}
			err := proveFeed(t, v)
			if caught := err != nil; caught != (i > 0) {
				t.Errorf("got %v", err)
			}
			t.Log(err)
		})
	}
}

// readers of a feed.
const readers = 4

// feedProof is one run of the proof.
type feedProof struct {
	*fixture
	variant feedVariant
	orders  []Stream
	pages   atomic.Int64 // that readers got
	ended   atomic.Int64 // readers, which have found a fault
}

func proveFeed(t *testing.T, v feedVariant) error {
	p := &feedProof{fixture: newFixture(t), variant: v}
	p.feedQuery = v.read
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(context.Background()) }()
	for i := range 5 {
		p.orders = append(p.orders, p.order("o", fmt.Sprint("ord_", i)))
	}
	written := make(chan struct{})
	end := sync.OnceFunc(func() { close(written) })
	defer end()
	results := make(chan error, readers)
	for i := range readers {
		go func() {
			defer p.ended.Add(1)
			results <- p.follow(i%2 == 0, written)
		}()
	}
	p.lateCommit()
	p.olderChangesLater()
	var writers sync.WaitGroup
	for range 6 {
		writers.Go(func() {
			for range 25 {
				p.change()
			}
		})
	}
	writers.Wait()
	end()
	var faults []error
	for range readers {
		faults = append(faults, <-results)
	}
	return errors.Join(faults...)
}

// add appends an event to an order in tx, after locking the order.
func (p *feedProof) add(tx pgx.Tx, s Stream) {
	ctx := context.Background()
	_, err := tx.Exec(ctx, `SELECT FROM orders WHERE id = $1 FOR UPDATE`, s.Order)
	if err == nil {
		_, err = tx.Exec(ctx, p.variant.append, s.Order, s.Owner, []string{"stock.reserved"}, []models.EventData{{}}, models.EventOrderPlaced)
	}
	if err != nil {
		p.t.Error(err)
	}
}

// begin begins a transaction that has its id already.
func (p *feedProof) begin() pgx.Tx {
	tx, err := p.db.Begin(context.Background())
	if err == nil {
		_, err = tx.Exec(context.Background(), `SELECT pg_current_xact_id()`)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return tx
}

func (p *feedProof) commit(tx pgx.Tx, orders ...Stream) {
	if err := tx.Commit(context.Background()); err != nil {
		p.t.Error(err)
	}
	for _, s := range orders {
		p.hub.Wake(s.Owner, s.Order)
	}
}

// lateCommit has the older of two transactions commit after the younger one's event
// could be read.
func (p *feedProof) lateCommit() {
	older, younger := p.begin(), p.begin()
	p.add(older, p.orders[0])
	p.add(younger, p.orders[1])
	p.commit(younger, p.orders[1])
	before := p.pages.Load()
	p.await(func() bool { return p.pages.Load() > before+20 || p.ended.Load() == readers })
	p.commit(older, p.orders[0])
}

// olderChangesLater has an older transaction change an order after a younger one,
// as a cancellation that waited for the order's lock.
func (p *feedProof) olderChangesLater() {
	older, younger := p.begin(), p.begin()
	p.add(younger, p.orders[2])
	locked := make(chan struct{})
	go func() { defer close(locked); p.add(older, p.orders[2]) }()
	p.commit(younger)
	<-locked
	p.commit(older, p.orders[2])
}

// change changes one or two orders in a transaction that takes its id at some time
// and ends at some time, with a commit or a rollback.
func (p *feedProof) change() {
	ctx := context.Background()
	tx, err := p.db.Begin(ctx)
	if err != nil {
		p.t.Error(err)
		return
	}
	pause := func() {
		for range rand.N(4) {
			_, _ = tx.Exec(ctx, `SELECT`)
		}
	}
	if rand.N(2) == 0 {
		_, _ = tx.Exec(ctx, `SELECT pg_current_xact_id()`)
	}
	pause()
	first := rand.N(len(p.orders))
	changed := []Stream{p.orders[first]}
	if rand.N(3) == 0 && first+1 < len(p.orders) { // in this order: no deadlock
		changed = append(changed, p.orders[first+1])
	}
	for _, s := range changed {
		p.add(tx, s)
		pause()
	}
	if rand.N(5) == 0 {
		_ = tx.Rollback(ctx)
		return
	}
	p.commit(tx, changed...)
}

// follow reads the feed until it has all events that were written, by waiting or by
// polling, and returns what is wrong with it.
func (p *feedProof) follow(waits bool, written <-chan struct{}) error {
	ctx := context.Background()
	seen, total := map[string]int64{}, 0
	feed, q := Stream{Owner: "o"}, Query{Limit: 7}
	for {
		ended := false
		select {
		case <-written:
			ended = true
		default:
		}
		timeout := time.Duration(0)
		if waits && !ended {
			timeout = 50 * time.Millisecond
		}
		current := ended && p.isCurrent()
		page, err := p.Wait(ctx, feed, q, timeout)
		if err != nil {
			return err
		}
		p.pages.Add(1)
		for _, e := range page.Data {
			if e.Seq != seen[e.OrderID]+1 {
				return fmt.Errorf("event %d of %s follows event %d", e.Seq, e.OrderID, seen[e.OrderID])
			}
			seen[e.OrderID] = e.Seq
			total++
		}
		q.After = page.NextCursor
		if current && len(page.Data) == 0 {
			break
		}
	}
	var stored int
	if err := p.db.QueryRow(ctx, `SELECT count(*) FROM order_events`).Scan(&stored); err != nil {
		return err
	}
	if total != stored {
		return fmt.Errorf("got %d of %d events", total, stored)
	}
	return nil
}

// isCurrent reports whether no transaction holds up the feed.
func (p *feedProof) isCurrent() (current bool) {
	err := p.db.QueryRow(context.Background(), `
		SELECT COALESCE(max(feed) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint, true) FROM order_events`).Scan(&current)
	return err == nil && current
}

// waitVariant is a way to wait for the events of an order, and to change it.
type waitVariant struct {
	name    string
	wait    func(f *fixture, s Stream, timeout time.Duration) (models.EventPage, error)
	change  func(f *fixture, writer *fixture, s Stream)
	between bool // the change comes between the read and the wait; otherwise during the wait
	broken  bool
}

var waitVariants = []waitVariant{
	{"product, change between read and wait", waitForEvents, changeThenWake, true, false},
	{"product, change during the wait", waitForEvents, changeThenWake, false, false},
	{"subscribes after the read", subscribeAfterRead, changeThenWake, true, true},
	{"wakes before the commit", waitForEvents, wakeBeforeCommit, false, true},
}

func waitForEvents(f *fixture, s Stream, timeout time.Duration) (models.EventPage, error) {
	return f.Wait(f.t.Context(), s, Query{Limit: 1}, timeout)
}

// subscribeAfterRead is Wait with its steps in the wrong order.
func subscribeAfterRead(f *fixture, s Stream, timeout time.Duration) (models.EventPage, error) {
	at, _ := f.cursors.decode(s, "")
	topic, leave := f.hub.watch(s)
	defer leave()
	for {
		page, err := f.collect(f.t.Context(), s, at, Query{Limit: 1}, topic)
		if err != nil || len(page.Data) > 0 {
			return page, err
		}
		select {
		case <-topic.next():
		case <-time.After(timeout):
			return page, nil
		}
	}
}

// changeThenWake appends an event as the product does.
func changeThenWake(_, writer *fixture, s Stream) { writer.append(s, nil, models.EventOrderPlaced) }

// wakeBeforeCommit wakes in the transaction, whose event can't be read yet.
func wakeBeforeCommit(f, writer *fixture, s Stream) {
	err := postgres.InTx(f.t.Context(), writer.db, func(tx pgx.Tx) error {
		if err := (&fixture{Log: &Log{}, t: f.t}).appendIn(f.t.Context(), tx, s, models.EventOrderPlaced); err != nil {
			return err
		}
		f.hub.Wake(s.Owner, s.Order)
		f.await(func() bool { return f.hasRead(s) })
		return nil
	})
	if err != nil {
		f.t.Error(err)
	}
}

// hasRead reports whether a topic has been read since its last wake-up.
func (f *fixture) hasRead(s Stream) bool {
	f.hub.mu.Lock()
	topic := f.hub.topics[s]
	f.hub.mu.Unlock()
	topic.tail.turn <- struct{}{}
	defer func() { <-topic.tail.turn }()
	return topic.tail.known.Load() && topic.tail.current == topic.generation.Load()
}

// afterRead calls fn once, after the first read of an order's events and before its
// result is used.
type afterRead struct {
	once sync.Once
	fn   func()
}

type tracedSQL struct{}

func (*afterRead) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, tracedSQL{}, data.SQL)
}

func (a *afterRead) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if ctx.Value(tracedSQL{}) == orderQuery {
		a.once.Do(a.fn)
	}
}

// No wake-up is lost.
func TestLog_wakes(t *testing.T) {
	for _, v := range waitVariants {
		t.Run(v.name, func(t *testing.T) {
			if woken := proveWake(t, v); woken == v.broken {
				t.Errorf("woken: %t", woken)
			}
		})
	}
}

// proveWake reports whether who waits gets an event that is appended between the
// read and the wait, or during the wait.
func proveWake(t *testing.T, v waitVariant) bool {
	timeout := patience
	if v.broken {
		timeout = 300 * time.Millisecond // which a lost wake-up takes
	}
	address := testkit.DatabaseURL(t)
	hook := &afterRead{fn: func() {}}
	open := func(tracer pgx.QueryTracer) *fixture {
		db, err := postgres.Open(t.Context(), address, func(c *pgxpool.Config) { c.ConnConfig.Tracer = tracer })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		return fixtureOn(t, db)
	}
	f, writer := open(hook), open(nil)
	writer.hub = f.hub
	order := f.order("o", "ord_1")
	change := func() { v.change(f, writer, order) }
	if v.between {
		hook.fn = change
	}
	got := make(chan models.EventPage, 1)
	go func() {
		page, err := v.wait(f, order, timeout)
		if err != nil {
			t.Error(err)
		}
		got <- page
	}()
	if !v.between {
		f.await(func() bool { return f.Stats().Reads == 1 && f.Stats().Watchers == 1 })
		change()
	}
	return len((<-got).Data) == 1
}
