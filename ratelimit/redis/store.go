package redis

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"ratelimiter/ratelimit"
)

// defaultPrefix begins all keys.
const defaultPrefix = "rl:"

// Store implements ratelimit.Store. Create it with New.
type Store struct {
	client rueidis.Client
	queue  queue
	prefix string
	now    func() time.Time // nil: the server's clock
}

var _ ratelimit.Store = (*Store)(nil)

// Option configures a Store.
type Option func(*Store)

// WithPrefix sets the beginning of all keys, instead of "rl:". It must not contain
// braces.
func WithPrefix(prefix string) Option {
	return func(s *Store) { s.prefix = prefix }
}

// WithClock makes now decide instead of the server's clock, in whole microseconds.
// It is for tests.
func WithClock(now func() time.Time) Option {
	return func(s *Store) { s.now = now }
}

// New returns a store in the servers of client, which the caller closes. Retries
// of the client must be disabled; see Connect.
func New(client rueidis.Client, opts ...Option) *Store {
	s := &Store{client: client, prefix: defaultPrefix}
	s.queue.client = client
	for _, set := range opts {
		set(s)
	}
	return s
}

// Ping reports whether a server answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.client.Do(ctx, s.client.B().Ping().Build()).Error()
}

// Take implements ratelimit.Store.
func (s *Store) Take(ctx context.Context, b *ratelimit.Batch) error {
	c := s.newCall(b, every)
	a, err := c.do(ctx, opTake)
	if err != nil {
		return err
	}
	b.Now = a.time()
	for i := range b.Steps {
		a.step(i, &b.Steps[i])
	}
	return nil
}

// Give implements ratelimit.Store.
func (s *Store) Give(ctx context.Context, b *ratelimit.Batch) error {
	return s.update(ctx, b, opGive, func(step *ratelimit.Step) bool { return step.Give != 0 }, nil)
}

// Renew implements ratelimit.Store.
func (s *Store) Renew(ctx context.Context, b *ratelimit.Batch) error {
	lost := false
	err := s.update(ctx, b, opRenew,
		func(step *ratelimit.Step) bool { return step.Policy.Holds() && step.Charged },
		func(allowed bool) { lost = lost || !allowed })
	if err == nil && lost {
		return ratelimit.ErrExpired
	}
	return err
}

// update calls an operation on the steps that take part in it and sets their
// states.
func (s *Store) update(ctx context.Context, b *ratelimit.Batch, op operation, takesPart func(*ratelimit.Step) bool, verdict func(bool)) error {
	c := s.newCall(b, takesPart)
	if c.steps == 0 && (op != opGive || b.Once == "") {
		return nil
	}
	a, err := c.do(ctx, op)
	if err != nil {
		return err
	}
	b.Now = a.time()
	n := 0
	for i := range b.Steps {
		if step := &b.Steps[i]; takesPart(step) {
			if verdict != nil {
				verdict(a.allowed(n))
			}
			a.state(n, step)
			n++
		}
	}
	return nil
}

// Reset implements ratelimit.Store.
func (s *Store) Reset(ctx context.Context, b *ratelimit.Batch) error {
	_, err := s.newCall(b, every).do(ctx, opReset)
	return err
}

func every(*ratelimit.Step) bool { return true }

// call is one call of a function in the server.
type call struct {
	store     *Store
	batch     *ratelimit.Batch
	takesPart func(*ratelimit.Step) bool
	now       int64 // by the test's clock; 0: the server's decides
	periodAt  int64 // by which the periods of calendar policies are chosen
	steps     int
	keys      []string
}

// newCall returns the call for the steps of a batch that take part.
func (s *Store) newCall(b *ratelimit.Batch, takesPart func(*ratelimit.Step) bool) *call {
	c := &call{store: s, batch: b, takesPart: takesPart, periodAt: b.Now}
	for i := range b.Steps {
		if takesPart(&b.Steps[i]) {
			c.steps++
		}
	}
	if s.now != nil {
		c.now = s.now().UnixNano() / microsecond
		c.periodAt = c.now * microsecond
	}
	return c
}

// do performs the operation and returns its answer, which has a part for each step. It
// is repeated only if it had no effect, because a calendar step lacked the period of
// the server's time.
func (c *call) do(ctx context.Context, op operation) (answer, error) {
	for range maxAttempts {
		message := c.encode(op)
		a, err := c.store.queue.do(ctx, c.keys, message)
		switch {
		case err != nil:
			return "", err
		case len(a) == 0:
			return "", ratelimit.ErrSettled
		case len(a) == timeSize+c.steps*answerSize:
			return a, nil
		case len(a) != timeSize:
			return "", errAnswer
		default:
			c.periodAt = a.time()
		}
	}
	return "", errAttempts
}

// encode returns the argument and sets the keys: those of the subjects, of the lists,
// and of the record.
func (c *call) encode(op operation) message {
	b := c.batch
	c.keys = c.keys[:0]
	var positions [2]byte // of the key's and the owner's counters
	for i, subject := range [...]*ratelimit.Subject{b.Key, b.Owner} {
		if subject != nil {
			c.keys = append(c.keys, c.store.subjectKey(subject))
			positions[i] = byte(len(c.keys))
		}
	}
	m := c.header(op)
	for i := range b.Steps {
		step := &b.Steps[i]
		if !c.takesPart(step) {
			continue
		}
		key := positions[0]
		if step.Policy.PerOwner() {
			key = positions[1]
		}
		var list byte
		if hasList(step.Policy) {
			c.keys = append(c.keys, listKey(c.keys[key-1], step.Policy))
			list = byte(len(c.keys))
		}
		m.step(step.Policy, key, list, c.periodAt)
	}
	binary.LittleEndian.PutUint16(m[sizeOffset:], uint16(len(m)-headerSize))
	if op == opGive || op == opRenew {
		for i := range b.Steps {
			if step := &b.Steps[i]; c.takesPart(step) {
				m.taken(step)
			}
		}
	}
	if b.Holder != 0 {
		m = strconv.AppendInt(m, b.Holder, 10)
	}
	if op == opGive && b.Once != "" {
		c.keys = append(c.keys, c.store.recordKey(c.slot(), b.Once))
		m[flagOffset] = byte(len(c.keys))
	}
	return m
}

// hasList reports whether a policy's counter can be a list. A sliding_window's is
// one below a limit that another plan may exceed.
func hasList(p *ratelimit.Compiled) bool {
	return p.Listed() || p.Algorithm == ratelimit.SlidingWindow
}

func (c *call) slot() uint64 {
	if c.batch.Key != nil {
		return c.batch.Key.Slot
	}
	return c.batch.Owner.Slot
}

// header returns the beginning of the argument, with room for all of it.
func (c *call) header(op operation) message {
	b := c.batch
	m := make(message, 0, headerSize+planSize+c.steps*(stepSize+takenSize)+maxHolder)
	m = append(m, byte(op), 0, 0)
	m.integer(c.now)
	m = binary.LittleEndian.AppendUint32(m, rand.Uint32())
	m.integer(b.Cost)
	m = append(m, 0, 0, 0)
	if op == opTake && b.Refused {
		m[flagOffset] = 1
	}
	return append(m, byte(len(c.keys)), byte(c.steps), byte(b.Enforced))
}
