package events

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// readTimeout bounds one read, which takes a millisecond.
const readTimeout = 5 * time.Second

// batch is the result of reading a stream from a position on.
type batch struct {
	epoch   int64
	entries []entry
	from    position // entries are the first events after it
	end     position // all events up to it were read
	more    bool     // there may be events after end
	held    int64    // feed of the first event that can't be read yet; 0: there is none
	expired bool     // events after the position are missing, or it isn't in the log
}

// entry is an event at its position.
type entry struct {
	position
	event models.Event // without cursor
}

// read reads up to limit events after a bookmark, those of an order of all
// types. Errors: models.ErrNotFound, models.ErrUnavailable.
func (l *Log) read(ctx context.Context, s Stream, after bookmark, types []models.EventType, limit int) (b batch, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	l.reads.Add(1)
	if s.Order == "" {
		b, err = l.readFeed(ctx, s.Owner, after, types, limit)
	} else {
		b, err = l.readOrder(ctx, s, after, limit)
	}
	return b, postgres.Classify("read events", err)
}

// row is an event, or nil without one.
type row struct {
	order *string
	seq   *int64
	typ   *models.EventType
	data  *models.EventData
	at    *time.Time
	feed  *int64
}

// into returns what to scan.
func (r *row) into(before ...any) []any {
	return append(before, &r.order, &r.seq, &r.typ, &r.data, &r.at, &r.feed)
}

// appendTo appends the event, if there is one.
func (r *row) appendTo(list []entry) []entry {
	if r.seq == nil {
		return list
	}
	event := models.Event{OrderID: *r.order, Seq: *r.seq, Type: *r.typ, Data: *r.data, At: *r.at}
	return append(list, entry{position{*r.feed, *r.order, *r.seq}, event})
}

// orderQuery reads the events of an order from a number on.
const orderQuery = `
	SELECT epoch.epoch, o.events_deleted, e.order_id, e.seq, e.type, e.data, e.at, e.feed
	FROM event_epoch epoch CROSS JOIN orders o
	LEFT JOIN LATERAL (
		SELECT * FROM order_events WHERE order_id = o.id AND seq >= $3 ORDER BY seq LIMIT $4
	) e ON true
	WHERE o.id = $1 AND o.owner = $2
	ORDER BY e.seq`

// readOrder also reads the event that the bookmark is after: if another event has
// its number, the database was restored.
func (l *Log) readOrder(ctx context.Context, s Stream, after bookmark, limit int) (batch, error) {
	b := batch{from: after.position, end: after.position}
	var deleted int64
	var r row
	rows, _ := l.db.Query(ctx, orderQuery, s.Order, s.Owner, after.seq, limit+2) // ForEachRow returns its error
	tag, err := pgx.ForEachRow(rows, r.into(&b.epoch, &deleted), func() error {
		b.entries = r.appendTo(b.entries)
		return nil
	})
	switch {
	case err != nil:
		return batch{}, err
	case tag.RowsAffected() == 0:
		return batch{}, pgx.ErrNoRows
	case after.seq == deleted: // also at the start
	case after.seq < deleted || len(b.entries) == 0 || b.entries[0].position != after.position:
		b.expired = true
	default:
		b.entries = b.entries[1:]
	}
	if b.more = len(b.entries) > limit; b.more {
		b.entries = b.entries[:limit]
	}
	if n := len(b.entries); n > 0 {
		b.end = b.entries[n-1].position
	}
	return b, nil
}

// feedQuery reads the owner's events in the order of the feed, as far as none can be
// added before them: a transaction that hasn't ended has a number from the
// snapshot's xmin on, and so have its events. Without a position ($2 to $4) the feed
// starts after the last deleted event: cursors before that have expired.
const feedQuery = `
	SELECT epoch.epoch, bound.feed, after.feed, after.order_id, after.seq, COALESCE((s.feed, s.order_id, s.seq) > ($2, $3, $4), false),
		COALESCE((SELECT h.feed FROM order_events h WHERE h.owner = $1 AND h.feed >= bound.feed ORDER BY h.feed LIMIT 1), 0),
		e.order_id, e.seq, e.type, e.data, e.at, e.feed
	FROM event_epoch epoch
	CROSS JOIN LATERAL (SELECT (epoch.epoch << 48) + pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS feed) bound
	LEFT JOIN event_feed_starts s ON s.owner = $1
	CROSS JOIN LATERAL (SELECT COALESCE($2, s.feed, 0) AS feed, COALESCE($3, s.order_id, '') AS order_id, COALESCE($4, s.seq, 0) AS seq) after
	LEFT JOIN LATERAL (
		SELECT * FROM order_events o
		WHERE o.owner = $1 AND (o.feed, o.order_id, o.seq) > (after.feed, after.order_id, after.seq) AND o.feed < bound.feed
			AND ($5::text[] IS NULL OR o.type = ANY ($5))
		ORDER BY o.feed, o.order_id, o.seq LIMIT $6
	) e ON true
	ORDER BY e.feed, e.order_id, e.seq`

func (l *Log) readFeed(ctx context.Context, owner string, after bookmark, types []models.EventType, limit int) (batch, error) {
	var b batch
	var bound int64
	var deleted bool // events after the bookmark
	var feed, seq *int64
	var order *string
	if after.epoch != anyEpoch {
		feed, order, seq = &after.feed, &after.order, &after.seq
	}
	var r row
	var filter []string // nil: all
	for _, t := range types {
		filter = append(filter, string(t))
	}
	rows, _ := l.db.Query(ctx, l.feedQuery, owner, feed, order, seq, filter, limit+1) // ForEachRow returns its error
	_, err := pgx.ForEachRow(rows, r.into(&b.epoch, &bound, &b.from.feed, &b.from.order, &b.from.seq, &deleted, &b.held), func() error {
		b.entries = r.appendTo(b.entries)
		return nil
	})
	if err != nil {
		return batch{}, err
	}
	b.end = position{feed: bound}
	if b.more = len(b.entries) > limit; b.more {
		b.entries = b.entries[:limit]
		b.end = b.entries[limit-1].position
	}
	b.expired = deleted || after.epoch != anyEpoch && after.epoch != b.epoch
	return b, nil
}

// end returns the end of a stream, which is before all events that can't be read
// yet.
func (l *Log) end(ctx context.Context, s Stream) (b bookmark, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	b.order = s.Order
	if s.Order == "" {
		err = l.db.QueryRow(ctx, `
			SELECT epoch, (epoch << 48) + pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM event_epoch`).Scan(&b.epoch, &b.feed)
	} else {
		err = l.db.QueryRow(ctx, `
			SELECT epoch.epoch, COALESCE(e.feed, 0), COALESCE(e.seq, o.events_deleted)
			FROM event_epoch epoch CROSS JOIN orders o
			LEFT JOIN LATERAL (SELECT feed, seq FROM order_events WHERE order_id = o.id ORDER BY seq DESC LIMIT 1) e ON true
			WHERE o.id = $1 AND o.owner = $2`, s.Order, s.Owner).Scan(&b.epoch, &b.feed, &b.seq)
	}
	return b, postgres.Classify("read the end of events", err)
}
