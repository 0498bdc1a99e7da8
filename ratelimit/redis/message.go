package redis

import (
	"encoding/binary"
	"errors"
	"math"

	"ratelimiter/ratelimit"
)

// The formats of lua/operations.lua, in bytes.
const (
	timeSize         = 8
	baseOffset       = 1 // in a message
	flagOffset       = 1 + 2 + 8 + 4 + 8
	sizeOffset       = flagOffset + 1
	headerSize       = sizeOffset + 2
	planSize         = 3
	stepSize         = 3 + 8 + 4*8
	takenSize        = 8 + 4 + 5*8
	maxHolder        = 20    // digits and sign
	generationOffset = 2 + 8 // in a step's answer
	stateOffset      = generationOffset + 4 + 4 + 1
	answerSize       = stateOffset + 5*8
)

// microsecond is the unit of time in the server.
const microsecond = 1000

// Positions of algorithms in lua/record.lua.
var kinds = map[ratelimit.Algorithm]byte{
	ratelimit.TokenBucket: 1, ratelimit.LeakyBucket: 2, ratelimit.FixedWindow: 3, ratelimit.SlidingWindow: 4,
	ratelimit.Calendar: 5, ratelimit.SlidingLog: kindLog, ratelimit.Concurrency: 7,
}

const kindLog = 6

// kindOf returns the position of a policy's algorithm.
func kindOf(p *ratelimit.Compiled) byte {
	if p.Algorithm == ratelimit.SlidingWindow && p.Listed() {
		return kindLog
	}
	return kinds[p.Algorithm]
}

// message is the argument of an operation.
type message []byte

func (m *message) number(v float64) {
	*m = binary.LittleEndian.AppendUint64(*m, math.Float64bits(v))
}

func (m *message) integer(v int64) { m.number(float64(v)) }

// setBase sets the number of keys before those of the operation, if several share a
// call.
func (m message) setBase(n int) { binary.LittleEndian.PutUint16(m[baseOffset:], uint16(n)) }

// step appends a policy's numbers. key and list are positions among the keys. now is
// the time by which the period of a calendar policy is chosen.
func (m *message) step(p *ratelimit.Compiled, key, list byte, now int64) {
	*m = append(*m, kindOf(p), key, list)
	*m = binary.LittleEndian.AppendUint64(*m, p.ID())
	m.integer(p.Capacity())
	m.integer(p.Limit)
	if p.Leasable() { // calendar
		start, end := p.Bounds(now)
		m.integer(start / microsecond)
		m.integer(end / microsecond)
		return
	}
	period, extra := p.Times()
	m.integer(period.Microseconds())
	m.integer(extra.Microseconds())
}

// taken appends the units to give back and what was taken.
func (m *message) taken(s *ratelimit.Step) {
	m.integer(s.Give)
	*m = binary.LittleEndian.AppendUint32(*m, s.Generation)
	for _, v := range stateNumbers(s.Policy, s.State) {
		m.number(v)
	}
}

// Bits of a sliding_window's state; see ratelimit/sliding_window.go.
const (
	unitBits    = 40
	unitMask    = 1<<unitBits - 1
	costBits    = 20
	costMask    = 1<<costBits - 1
	previousBit = 1 << 62
)

// stateNumbers returns a state as the server has it: times in microseconds, a
// bucket's fraction in 1/period of a unit with the period in microseconds, and a
// sliding_window's even run as one number.
func stateNumbers(p *ratelimit.Compiled, s ratelimit.State) [5]float64 {
	switch kindOf(p) {
	case 1, 2: // buckets
		return [5]float64{toServer(s.At), float64(s.N), float64(s.M / microsecond), float64(s.X)}
	case 4: // sliding_window
		run := (s.M>>unitBits<<costBits | s.N>>unitBits&costMask) << 1
		if s.N&previousBit != 0 {
			run |= 1
		}
		return [5]float64{toServer(s.At), float64(s.N & unitMask), float64(s.M & unitMask), toServer(s.X), float64(run)}
	case kindLog:
		return [5]float64{toServer(s.At), float64(s.N), toServer(s.M), toServer(s.X)}
	default:
		return [5]float64{toServer(s.At), float64(s.N), toServer(s.M), float64(s.X)}
	}
}

// stateOf is the inverse of stateNumbers.
func stateOf(p *ratelimit.Compiled, v [5]float64) ratelimit.State {
	switch kindOf(p) {
	case 1, 2:
		return ratelimit.State{At: fromServer(v[0]), N: int64(v[1]), M: int64(v[2]) * microsecond, X: int64(v[3])}
	case 4:
		run := int64(v[4])
		s := ratelimit.State{At: fromServer(v[0]), N: int64(v[1]) | run>>1&costMask<<unitBits, M: int64(v[2]) | run>>(1+costBits)<<unitBits, X: fromServer(v[3])}
		if run&1 != 0 {
			s.N |= previousBit
		}
		return s
	case kindLog:
		return ratelimit.State{At: fromServer(v[0]), N: int64(v[1]), M: fromServer(v[2]), X: fromServer(v[3])}
	default:
		return ratelimit.State{At: fromServer(v[0]), N: int64(v[1]), M: fromServer(v[2]), X: int64(v[3])}
	}
}

// never is later than every instant of the server.
const never = 1 << 53

func toServer(nanoseconds int64) float64 {
	if nanoseconds == math.MaxInt64 {
		return math.Inf(1)
	}
	return float64(nanoseconds / microsecond)
}

func fromServer(microseconds float64) int64 {
	if microseconds >= never {
		return math.MaxInt64
	}
	return int64(microseconds) * microsecond
}

// operation is a position in lua/operations.lua.
type operation byte

const (
	opTake operation = iota + 1
	opGive
	opRenew
	opReset
)

// errAnswer reports an answer that isn't in the format of this package.
var errAnswer = errors.New("redis: unexpected answer of the server's functions")

// answer reads the answer of an operation.
type answer string

func (a answer) uint64(at int) uint64 {
	var b [8]byte
	copy(b[:], a[at:])
	return binary.LittleEndian.Uint64(b[:])
}

func (a answer) number(at int) float64 { return math.Float64frombits(a.uint64(at)) }

// time returns the server's time in nanoseconds.
func (a answer) time() int64 { return fromServer(a.number(0)) }

// allowed reports whether the answer's step i passes.
func (a answer) allowed(i int) bool { return a[timeSize+i*answerSize] != 0 }

// step sets the results of the answer's step i.
func (a answer) step(i int, s *ratelimit.Step) {
	at := timeSize + i*answerSize
	s.Allowed, s.Charged, s.Short = a[at] != 0, a[at+1] != 0, false
	s.Generation = uint32(a.uint64(at + generationOffset))
	a.state(i, s)
}

// state sets the state of the answer's step i.
func (a answer) state(i int, s *ratelimit.Step) {
	at := timeSize + i*answerSize + stateOffset
	var v [5]float64
	for k := range v {
		v[k] = a.number(at + 8*k)
	}
	s.State = stateOf(s.Policy, v)
}
