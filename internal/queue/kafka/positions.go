package kafka

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// begun is the metadata of a position whose message may have been received.
	begun = "begun"
	// commitTimeout bounds a commit, which waits while the group is rebalanced.
	commitTimeout = rebalanceTimeout + sessionTimeout
)

// position is where a partition continues.
type position struct {
	partition int32
	epoch     int32 // of the partition's leader
	offset    int64
	metadata  string // begun, or empty
}

// positions commits the positions of one topic. Those that come while a commit is
// under way are in the next one together.
type positions struct {
	client *kgo.Client
	topic  string
	ctx    context.Context // done: commits fail
	giveUp context.CancelFunc

	requests chan request
	sender   sync.WaitGroup
}

type request struct {
	position

	result chan error
}

func newPositions(client *kgo.Client, topic string) *positions {
	p := &positions{client: client, topic: topic, requests: make(chan request)}
	p.ctx, p.giveUp = context.WithCancel(context.Background())
	p.sender.Go(p.send)
	return p
}

// close ends the sender. No commit may be under way.
func (p *positions) close() {
	close(p.requests)
	p.sender.Wait()
	p.giveUp()
}

// commit returns when the position is stored.
func (p *positions) commit(at position) error {
	r := request{at, make(chan error, 1)}
	p.requests <- r
	return <-r.result
}

// send commits what is requested.
func (p *positions) send() {
	for first := range p.requests {
		batch := []request{first}
		for more := true; more; {
			select {
			case r, open := <-p.requests:
				if more = open; open {
					batch = append(batch, r)
				}
			default:
				more = false
			}
		}
		results := p.sendBatch(batch)
		for _, r := range batch {
			r.result <- results[r.partition]
		}
	}
}

// sendBatch commits positions of different partitions, and returns the errors of those
// that failed.
func (p *positions) sendBatch(batch []request) map[int32]error {
	ctx, cancel := context.WithTimeout(p.ctx, commitTimeout)
	defer cancel()
	offsets, metadata, results := map[int32]kgo.EpochOffset{}, map[int32]*string{}, map[int32]error{}
	for _, r := range batch {
		offsets[r.partition] = kgo.EpochOffset{Epoch: r.epoch, Offset: r.offset}
		metadata[r.partition] = &r.metadata
	}
	ctx = kgo.PreCommitFnContext(ctx, func(r *kmsg.OffsetCommitRequest) error {
		for _, topic := range r.Topics { // there is one
			for i := range topic.Partitions {
				topic.Partitions[i].Metadata = metadata[topic.Partitions[i].Partition]
			}
		}
		return nil
	})
	p.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{p.topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if err != nil {
				for number := range offsets {
					results[number] = fmt.Errorf("commit a position: %w", err)
				}
				return
			}
			for _, topic := range response.Topics {
				for _, partition := range topic.Partitions {
					if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
						results[partition.Partition] = fmt.Errorf("commit a position: %w", err)
					}
				}
			}
		})
	return results
}
