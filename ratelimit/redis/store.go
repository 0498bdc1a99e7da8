package redis

import (
	"context"
	"errors"
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

// maxAttempts bounds the calls of one operation. A call is repeated only if it had
// no effect: the server lacks the library, or a calendar step lacked the period of
// the server's time.
const maxAttempts = 4

// errAttempts reports that a server keeps losing the library, or that its clock
// keeps passing the ends of calendar periods.
var errAttempts = errors.New("redis: the server's functions can't be called")

// do calls the operation and returns its answer, which has a part for each step.
func (c *call) do(ctx context.Context, op operation) (answer, error) {
	client := c.store.client
	for range maxAttempts {
		argument := c.encode(op)
		command := client.B().Fcall().Function(lib.names[op]).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(rueidis.BinaryString(argument)).Build()
		text, err := client.Do(ctx, command).ToString()
		switch a := answer(text); {
		case lacksLibrary(err):
			if err := lib.load(ctx, client); err != nil {
				return "", err
			}
		case err != nil:
			return "", err
		case len(a) == 0:
			return "", ratelimit.ErrSettled
		case op == opReset, len(a) == timeSize+c.steps*answerSize:
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
		if op == opGive || op == opRenew {
			m.taken(step)
		}
	}
	if op == opGive && b.Once != "" {
		c.keys = append(c.keys, c.store.recordKey(c.slot(), b.Once))
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

// header returns the beginning of the argument, with room for all steps.
func (c *call) header(op operation) message {
	b := c.batch
	holder := ""
	if op != opReset {
		holder = strconv.FormatInt(b.Holder, 10)
	}
	m := make(message, 0, headerSize+len(holder)+c.steps*(stepSize+takenSize))
	m.integer(c.now)
	generation := rand.Uint32()
	m = append(m, byte(generation), byte(generation>>8), byte(generation>>16), byte(generation>>24))
	m = append(m, byte(len(c.keys)), byte(c.steps))
	m.integer(b.Cost)
	flag := op == opGive && b.Once != "" || op == opTake && b.Refused
	m = append(m, byte(b.Enforced), byteOf(flag), byte(len(holder)))
	return append(m, holder...)
}

func byteOf(b bool) byte {
	if b {
		return 1
	}
	return 0
}
