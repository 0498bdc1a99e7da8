package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ratelimiter/internal/queue"
)

const (
	// batches is how many fetched batches of a partition wait in memory.
	batches = 8
	// retryPause is the time between two attempts to receive a message.
	retryPause = time.Second
)

// partition receives the messages of an assigned partition, one after another.
type partition struct {
	consumer    *consumer
	number      int32
	redelivered bool // the next message may have been received before
	ctx         context.Context
	end         context.CancelFunc
	ended       chan struct{}

	waiting chan []*kgo.Record
	mu      sync.Mutex
	paused  bool // isn't fetched, because enough is waiting
}

func newPartition(c *consumer, number int32, redelivered bool) *partition {
	p := &partition{consumer: c, number: number, redelivered: redelivered, ended: make(chan struct{}), waiting: make(chan []*kgo.Record, batches)}
	p.ctx, p.end = context.WithCancel(c.ctx)
	return p
}

// add adds fetched messages. It doesn't wait: a partition with enough of them isn't
// fetched.
func (p *partition) add(records []*kgo.Record) {
	p.waiting <- records
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == batches {
		p.paused = true
		p.consumer.client.PauseFetchPartitions(p.name())
	}
}

// taken fetches the partition again when half of what waited is taken.
func (p *partition) taken() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused && len(p.waiting) <= batches/2 {
		p.paused = false
		p.consumer.client.ResumeFetchPartitions(p.name())
	}
}

// name returns the partition as the client names it.
func (p *partition) name() map[string][]int32 {
	return map[string][]int32{p.consumer.positions.topic: {p.number}}
}

// run receives messages until the partition is given up.
func (p *partition) run() {
	defer close(p.ended)
	defer p.end()
	defer p.resume()
	for {
		select {
		case <-p.ctx.Done():
			return
		case records := <-p.waiting:
			p.taken()
			for _, record := range records {
				if err := p.process(record); err != nil {
					p.consumer.fail(err)
				}
				if p.ctx.Err() != nil {
					return
				}
			}
		}
	}
}

// resume ends a pause, which would last longer than the assignment.
func (p *partition) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		p.consumer.client.ResumeFetchPartitions(p.name())
	}
}

// process receives a message until that succeeds, and acknowledges it. Before it is
// received the first time, it is marked as begun: without an acknowledgement, the
// next instance knows that it was.
func (p *partition) process(record *kgo.Record) error {
	for marked := false; p.acquire(); _ = pause(p.ctx, retryPause) {
		if !marked {
			if err := p.consumer.positions.commit(position{p.number, record.LeaderEpoch, record.Offset, begun}); err != nil {
				p.release()
				return err
			}
			marked = true
		}
		err := p.consumer.receive(queue.Incoming{Body: record.Value, Redelivered: p.redelivered})
		p.release()
		p.redelivered = err != nil
		if err == nil {
			return p.consumer.positions.commit(position{p.number, record.LeaderEpoch, record.Offset + 1, ""})
		}
	}
	return nil
}

// acquire waits until a message may be received. It returns false if the partition is
// given up.
func (p *partition) acquire() bool {
	select {
	case <-p.ctx.Done():
		return false
	case p.consumer.slots <- struct{}{}:
	}
	if p.ctx.Err() != nil { // both were ready
		p.release()
		return false
	}
	return true
}

func (p *partition) release() { <-p.consumer.slots }
