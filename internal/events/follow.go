package events

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
)

const (
	// pollInterval is how often the log is searched for events of which nobody was
	// woken: their notification was lost, or there are none through a pooler.
	pollInterval = 3 * time.Second
	// pollTimeout bounds the search.
	pollTimeout = 5 * time.Second
	// pollBatch is how many topics one query searches for.
	pollBatch = 1000
	// minHeld and maxHeld are the first and the longest pause until events of feeds
	// that couldn't be read yet are looked for again. Most transactions take
	// milliseconds.
	minHeld, maxHeld = 5 * time.Millisecond, 500 * time.Millisecond
)

// follower is the background work of a Log.
type follower struct {
	catchUp chan struct{} // capacity 1
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

// Name returns "event log".
func (*Log) Name() string { return "event log" }

// Start finds out whether the database was restored, and begins to look for events
// that nobody is woken for.
func (l *Log) Start(ctx context.Context) error {
	if err := l.checkHistory(ctx); err != nil {
		return err
	}
	ctx, l.follower.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.follower.ended.Go(func() { l.follow(ctx) })
	return nil
}

// Stop ends the background work.
func (l *Log) Stop(context.Context) error {
	l.follower.cancel()
	l.follower.ended.Wait()
	return nil
}

// Wake wakes those on this instance who wait for events of an order or of its owner.
func (l *Log) Wake(owner, order string) { l.hub.Wake(owner, order) }

// CatchUp looks for events of which notifications may have been lost. It doesn't
// wait.
func (l *Log) CatchUp() {
	select {
	case l.follower.catchUp <- struct{}{}:
	default: // one is due
	}
}

func (l *Log) follow(ctx context.Context) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	pause := minHeld
	var retry <-chan time.Time // nil: no event is held
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			l.poll(ctx)
		case <-l.follower.catchUp:
			l.poll(ctx)
		case <-l.hub.held:
			if retry == nil {
				retry = time.After(pause)
			}
		case <-retry:
			released, held := l.release(ctx)
			pause = min(2*pause, maxHeld)
			if released {
				pause = minHeld
			}
			if retry = nil; held {
				retry = time.After(pause)
			} else {
				pause = minHeld
			}
		}
	}
}

// poll wakes those who miss events, and observes the feed.
func (l *Log) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	err := errors.Join(l.checkHistory(ctx), l.findMissed(ctx), l.lag.observe(ctx, l.db))
	if err != nil && ctx.Err() == nil {
		l.log.Debug("event log: the search for missed events failed", "error", err.Error())
	}
}

// release wakes those who wait for events of feeds that can be read now, and
// reports whether there were any, and whether others are still held.
func (l *Log) release(ctx context.Context) (released, held bool) {
	end, err := l.end(ctx, Stream{})
	if err != nil {
		return false, ctx.Err() == nil
	}
	for _, t := range l.hub.all() {
		switch feed := t.held.Load(); {
		case feed == 0:
		case feed >= end.feed:
			held = true
		default:
			released = true
			t.held.CompareAndSwap(feed, 0)
			t.wake()
		}
	}
	return released, held
}

// missedQuery finds the streams, by their index, that have events after a position:
// those of an order, or without one those of an owner that can be read.
const missedQuery = `
	SELECT t.n - 1
	FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
		WITH ORDINALITY AS t (owner, stream, feed, order_id, seq, n)
	CROSS JOIN event_epoch epoch
	WHERE CASE WHEN t.stream <> ''
		THEN EXISTS (SELECT FROM order_events e WHERE e.order_id = t.stream AND e.seq > t.seq)
		ELSE EXISTS (
			SELECT FROM order_events e
			WHERE e.owner = t.owner AND (e.feed, e.order_id, e.seq) > (t.feed, t.order_id, t.seq)
				AND e.feed < (epoch.epoch << 48) + pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
		END`

// findMissed wakes the topics whose tails miss events.
func (l *Log) findMissed(ctx context.Context) error {
	topics := l.hub.sweep(time.Now())
	for len(topics) > 0 {
		n := min(len(topics), pollBatch)
		if err := l.findMissedOf(ctx, topics[:n]); err != nil {
			return err
		}
		topics = topics[n:]
	}
	return nil
}

func (l *Log) findMissedOf(ctx context.Context, topics []*topic) error {
	var asked []*topic
	var owners, streams, orders []string
	var feeds, seqs []int64
	for _, t := range topics {
		end, known, busy := t.tail.end()
		switch {
		case busy: // it is being read
		case !known:
			t.wake()
		default:
			asked = append(asked, t)
			owners, streams, orders = append(owners, t.stream.Owner), append(streams, t.stream.Order), append(orders, end.order)
			feeds, seqs = append(feeds, end.feed), append(seqs, end.seq)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	rows, _ := l.db.Query(ctx, missedQuery, owners, streams, feeds, orders, seqs) // ForEachRow returns its error
	var n int
	_, err := pgx.ForEachRow(rows, []any{&n}, func() error { asked[n].wake(); return nil })
	return postgres.Classify("find missed events", err)
}
