package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

const (
	// maxTogether bounds the operations of one call, during which the server
	// serves no other client.
	maxTogether = 64
	// maxCalls is the number of calls on their way at once: while the server performs
	// one, the next is prepared.
	maxCalls = 2
	// maxAttempts bounds how often an operation that had no effect is sent.
	maxAttempts = 4
)

// errAttempts reports that a server keeps losing the library, or that its clock
// keeps passing the ends of calendar periods.
var errAttempts = errors.New("redis: the server's functions can't be called")

// queue sends operations to the server. Those that arrive while others are on their
// way share the next call, which costs the server much less than a call for each.
// No operation waits for others to arrive. In a Cluster, where the keys of a call
// belong to one slot, each operation has a call of its own.
type queue struct {
	client rueidis.Client

	mu      sync.Mutex
	waiting []*request
	calls   int // on their way

	library sync.Mutex
	loads   int // how often the library was loaded; guarded by library
}

// request is an operation that waits for its answer.
type request struct {
	ctx     context.Context
	keys    []string
	message message
	done    chan struct{} // closed when answer and err are set
	answer  answer
	err     error
}

// do performs one operation. If ctx ends first, it may have been performed.
func (q *queue) do(ctx context.Context, keys []string, m message) (answer, error) {
	r := &request{ctx: ctx, keys: keys, message: m, done: make(chan struct{})}
	if q.client.Mode() == rueidis.ClientModeCluster {
		q.send(ctx, []*request{r})
		return r.answer, r.err
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	if q.calls < maxCalls {
		q.calls++
		go q.drain()
	}
	q.mu.Unlock()
	select {
	case <-r.done:
		return r.answer, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// drain sends what waits until nothing does.
func (q *queue) drain() {
	for {
		q.mu.Lock()
		var together []*request
		n := min(len(q.waiting), maxTogether)
		together, q.waiting = q.waiting[:n:n], q.waiting[n:]
		if n == 0 {
			q.waiting = nil
			q.calls--
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		if together = unexpired(together); len(together) == 0 {
			continue
		}
		ctx, cancel := latest(together)
		q.send(ctx, together)
		cancel()
	}
}

// unexpired returns the requests that somebody still waits for. The others were not
// sent and have no effect.
func unexpired(requests []*request) []*request {
	kept := requests[:0]
	for _, r := range requests {
		if r.ctx.Err() == nil {
			kept = append(kept, r)
		}
	}
	return kept
}

// latest returns a context that ends with the last of the requests' deadlines.
func latest(requests []*request) (context.Context, context.CancelFunc) {
	var last time.Time
	for _, r := range requests {
		deadline, ok := r.ctx.Deadline()
		if !ok {
			return context.Background(), func() {}
		}
		if deadline.After(last) {
			last = deadline
		}
	}
	return context.WithDeadline(context.Background(), last)
}

// send performs requests in one call and sets their answers.
func (q *queue) send(ctx context.Context, requests []*request) {
	var keys []string
	arguments := make([]string, len(requests))
	for i, r := range requests {
		r.message.setBase(len(keys))
		keys = append(keys, r.keys...)
		arguments[i] = rueidis.BinaryString(r.message)
	}
	answers, err := q.call(ctx, keys, arguments)
	if err == nil && len(answers) != len(requests) {
		err = errAnswer
	}
	for i, r := range requests {
		if r.err = err; err == nil {
			text, err := answers[i].ToString()
			r.answer, r.err = answer(text), err
		}
		close(r.done)
	}
}

// call calls the library's function. It repeats a call only if the server lacks the
// library: after any other error, it is unknown what the call has done.
func (q *queue) call(ctx context.Context, keys, arguments []string) ([]rueidis.RedisMessage, error) {
	for range maxAttempts {
		q.library.Lock()
		seen := q.loads
		q.library.Unlock()
		command := q.client.B().Fcall().Function(lib.name).Numkeys(int64(len(keys))).Key(keys...).Arg(arguments...).Build()
		answers, err := q.client.Do(ctx, command).ToArray()
		if !lacksLibrary(err) {
			return answers, err
		}
		if err := q.load(ctx, seen); err != nil {
			return nil, err
		}
	}
	return nil, errAttempts
}

// load loads the library, unless another call has done so since seen.
func (q *queue) load(ctx context.Context, seen int) error {
	q.library.Lock()
	defer q.library.Unlock()
	if q.loads != seen {
		return nil
	}
	err := lib.load(ctx, q.client)
	if err == nil {
		q.loads++
	}
	return err
}
