package events

import (
	"cmp"
	"encoding/binary"

	"ratelimiter/internal/cursor"
	"ratelimiter/models"
)

// position is a position in a stream: after the event with these values. The zero
// position is the start of every stream. Positions are sorted by feed, order and seq,
// which among the events of one order is the order of seq.
type position struct {
	feed  int64  // of the event; see appendQuery
	order string // id of the order
	seq   int64  // of the event in its order; 0: before all events with this feed
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.feed, q.feed), cmp.Compare(p.order, q.order), cmp.Compare(p.seq, q.seq))
}

// bookmark is the content of a cursor: a position, and the epoch in which it was
// given out.
type bookmark struct {
	epoch int64
	position
}

// cursors encodes bookmarks.
type cursors struct{ signer *cursor.Signer }

// name identifies a stream; cursors are valid only for theirs.
func name(s Stream) string {
	if s.Order == "" {
		return "feed " + s.Owner
	}
	return "order " + s.Order
}

func (c cursors) encode(s Stream, b bookmark) string {
	data := binary.AppendUvarint(nil, uint64(b.epoch))
	data = binary.AppendUvarint(data, uint64(b.feed))
	data = binary.AppendUvarint(data, uint64(b.seq))
	if s.Order == "" {
		data = append(data, b.order...)
	}
	return c.signer.Encode(name(s), data)
}

// decode decodes a cursor; "" is the start of the stream in any epoch. Error:
// models.KindInvalid.
func (c cursors) decode(s Stream, text string) (bookmark, error) {
	if text == "" {
		return bookmark{epoch: anyEpoch, position: position{order: s.Order}}, nil
	}
	data, ok := c.signer.Decode(name(s), text)
	var values [3]uint64
	for i := range values {
		n := 0
		if values[i], n = binary.Uvarint(data); n <= 0 {
			ok = false
			break
		}
		data = data[n:]
	}
	if !ok {
		var faults models.Faults
		faults.AddFault(models.Fault{
			Source: models.SourceQuery, Path: []string{"after"}, Code: "cursor",
			Message: "is not a cursor of these events: send a cursor or next_cursor of theirs unchanged, or leave it out",
		})
		return bookmark{}, faults.Err()
	}
	order := s.Order
	if order == "" {
		order = string(data)
	}
	return bookmark{int64(values[0]), position{int64(values[1]), order, int64(values[2])}}, nil
}

// anyEpoch is the epoch of a bookmark that is valid in each.
const anyEpoch = -1
