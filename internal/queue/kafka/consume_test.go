package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

var errOutcome = errors.New("the outcome can't be recorded")

// testRedelivered: a message whose receive failed is received again, marked, before
// those behind it: by the same consumer, and by the next.
func (f *fixture) testRedelivered(t *testing.T) {
	transport := f.transport(t)
	publish(t, transport, "1", "2", "3", "4")
	failures := 1
	c := consume(t, transport, func(body string) error {
		switch {
		case body == "2" && failures > 0:
			failures--
			return errOutcome
		case body == "3":
			return errOutcome
		}
		return nil
	})
	c.expect(delivery{"1", false}, delivery{"2", false}, delivery{"2", true}, delivery{"3", false}, delivery{"3", true})
	c.stop()

	again := consume(t, transport, func(string) error { return errOutcome })
	again.expect(delivery{"3", true}, delivery{"3", true})
	again.stop()

	last := consume(t, transport, nil)
	last.expect(delivery{"3", true}, delivery{"4", false})
	last.stop()
}

// testSlow: while a message is being received, those of other partitions are, and as
// many of its own partition are fetched as memory is meant for.
func (f *fixture) testSlow(t *testing.T) {
	transport := f.transport(t)
	const slow, many = 0, 40
	client := newClient(t, f.address)
	random := make([]byte, fetchPartitionBytes)
	_, _ = rand.Read(random) // can't be compressed, and never fails
	large := string(random)
	for i := range many { // a batch each
		produce(t, client, &kgo.Record{Topic: transport.topic(group), Partition: slow, Value: fmt.Appendf(nil, "slow %d %s", i, large)})
	}
	release := make(chan struct{})
	c := consume(t, transport, func(body string) error {
		if strings.HasPrefix(body, "slow") {
			<-release
		}
		return nil
	})
	c.expect(delivery{"slow 0 " + large, false})
	for i := range many {
		body := fmt.Sprintf("quick %d", i)
		produce(t, client, &kgo.Record{Topic: transport.topic(group), Partition: 1, Value: []byte(body)})
		c.expect(delivery{body, false})
	}
	close(release)
	for i := 1; i < many; i++ {
		c.expect(delivery{fmt.Sprintf("slow %d %s", i, large), false})
	}
	c.stop()
}

// testParallel: no more messages are received at once than asked for.
func (f *fixture) testParallel(t *testing.T) {
	transport := f.transport(t)
	client := newClient(t, f.address)
	for i := range 5 * partitions {
		produce(t, client, &kgo.Record{Topic: transport.topic(group), Partition: int32(i % partitions), Value: []byte("m")})
	}
	const parallel = 3
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	running, most, received := 0, 0, 0
	err := transport.Consume(ctx, group, parallel, func(queue.Incoming) error {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		_, err := transport.Waiting(t.Context(), group) // takes some time
		mu.Lock()
		running--
		if received++; received == 5*partitions {
			cancel()
		}
		mu.Unlock()
		return err
	})
	if err != nil || most != parallel {
		t.Errorf("%d at once, error %v, want %d", most, err, parallel)
	}
}

// testRevoked: a partition moves to a new consumer when the message that is being
// received is acknowledged, and no message is received twice.
func (f *fixture) testRevoked(t *testing.T) {
	transport := f.transport(t)
	client := newClient(t, f.address)
	for number := range int32(partitions) {
		produce(t, client, &kgo.Record{Topic: transport.topic(group), Partition: number, Value: []byte("first")})
	}
	release := make(chan struct{})
	hold := func(body string) error { <-release; return nil }
	one := consume(t, transport, hold)
	for range partitions {
		one.expect(delivery{"first", false})
	}
	two := consume(t, transport, nil)
	admin := kadm.NewClient(client)
	testkit.Await(t, patience, "the group is rebalanced", func() bool {
		described, err := admin.DescribeGroups(t.Context(), transport.topic(group))
		return err == nil && (described[transport.topic(group)].State == "PreparingRebalance" || len(described[transport.topic(group)].Members) == 2)
	})
	close(release)
	testkit.Await(t, patience, "each has some partitions", func() bool {
		described, err := admin.DescribeGroups(t.Context(), transport.topic(group))
		if err != nil || len(described[transport.topic(group)].Members) != 2 {
			return false
		}
		for _, member := range described[transport.topic(group)].Members {
			assigned, ok := member.Assigned.AsConsumer()
			if !ok || len(assigned.Topics) != 1 || len(assigned.Topics[0].Partitions) != partitions/2 {
				return false
			}
		}
		return true
	})
	for number := range int32(partitions) {
		produce(t, client, &kgo.Record{Topic: transport.topic(group), Partition: number, Value: []byte("second")})
	}
	for range partitions / 2 {
		one.expect(delivery{"second", false})
		two.expect(delivery{"second", false})
	}
	one.stop()
	two.stop()
	if n := len(one.deliveries) + len(two.deliveries); n != 0 {
		t.Errorf("%d further deliveries", n)
	}
}

// TestConsumer_giveUp: a partition is given up when its message is acknowledged, not
// before.
func TestConsumer_giveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{ctx: t.Context(), partitions: map[int32]*partition{}}
		p := newPartition(c, 3, false)
		c.partitions[3] = p
		go func() {
			c.giveUp(t.Context(), nil, map[string][]int32{"topic": {1, 3}})
			c.mu.Lock()
			defer c.mu.Unlock()
			c.partitions = nil
		}()
		synctest.Wait()
		if c.mu.Lock(); p.ctx.Err() == nil || c.partitions == nil || len(c.partitions) > 0 {
			t.Errorf("the worker's context: %v; partitions %v", p.ctx.Err(), c.partitions)
		}
		c.mu.Unlock()
		close(p.ended)
		synctest.Wait()
		if c.partitions != nil {
			t.Error("it wasn't given up")
		}
	})
}

// testDeletedTopic: when its topic is deleted, Consume ends, and after Prepare
// messages flow again.
func (f *fixture) testDeletedTopic(t *testing.T) {
	transport := f.transport(t)
	publish(t, transport, "1")
	c := consume(t, transport, nil)
	c.expect(delivery{"1", false})
	if _, err := f.admin(t).DeleteTopic(t.Context(), transport.topic(group)); err != nil {
		t.Fatal(err)
	}
	if err := <-c.result; err == nil {
		t.Error("no error")
	}
	prepare(t, transport)
	c = consume(t, transport, nil)
	testkit.Await(t, patience, "a message is confirmed", func() bool {
		return transport.Publish(t.Context(), group, queue.Outgoing{ID: "2", Key: "k", Body: []byte("2")}) == nil
	})
	c.expect(delivery{"2", false})
	c.stop()
}

// testDeleted: messages that the broker has deleted are skipped.
func (f *fixture) testDeleted(t *testing.T) {
	transport := f.transport(t)
	publish(t, transport, "1")
	c := consume(t, transport, nil)
	c.expect(delivery{"1", false})
	c.stop()
	publish(t, transport, "2", "3")
	admin := f.admin(t)
	ends, err := admin.ListEndOffsets(t.Context(), transport.topic(group))
	if err != nil {
		t.Fatal(err)
	}
	before := kadm.Offsets{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			before.Add(kadm.Offset{Topic: end.Topic, Partition: end.Partition, At: end.Offset - 1, LeaderEpoch: -1})
		}
	})
	if deleted, err := admin.DeleteRecords(t.Context(), before); err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}
	c = consume(t, transport, nil)
	c.expect(delivery{"3", false})
	c.stop()
}

// testHangingPublish: publishing to a server that hangs ends at its deadline, and what
// failed doesn't stay in the client, which would send it as well when its job does.
func (f *fixture) testHangingPublish(t *testing.T) {
	transport := f.transport(t)
	publish(t, transport, "before")
	f.server.Pause()
	resume := true
	defer func() {
		if resume {
			f.server.Continue()
		}
	}()
	tries, early := int64(0), false // early: it has returned while the client waits for the server
	try := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		tries++
		err := transport.Publish(ctx, group, queue.Outgoing{ID: "m", Key: "k", Body: []byte("during")})
		early = early || transport.client.BufferedProduceRecords() > 0
		return err
	}
	testkit.Await(t, patience, "the server hangs", func() bool { return try() != nil })
	for range 5 {
		if err := try(); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, queue.ErrMisconfigured) {
			t.Errorf("got %v, want the deadline", err)
		}
	}
	if !early {
		t.Error("Publish has waited for the client")
	}
	testkit.Await(t, patience, "nothing is left to be sent", func() bool { return transport.client.BufferedProduceRecords() == 0 })
	f.server.Continue()
	resume = false
	publish(t, transport, "after")
	// The server finds each try at most once.
	if waiting, err := transport.Waiting(t.Context(), group); err != nil || waiting > tries+2 {
		t.Errorf("%d messages after %d tries, error %v", waiting, tries, err)
	}
}

// testLostConnection: Consume returns an error when the server stays away, after the
// running receive has returned.
func (f *fixture) testLostConnection(t *testing.T) {
	transport := f.transport(t)
	publish(t, transport, "1")
	release := make(chan struct{})
	returned := false
	c := consume(t, transport, func(string) error {
		<-release
		returned = true
		return nil
	})
	c.expect(delivery{"1", false})
	f.server.Kill()
	time.AfterFunc(3*time.Second, func() { close(release) }) // after the session has ended
	err := <-c.result
	if err == nil || errors.Is(err, queue.ErrMisconfigured) || !returned {
		t.Errorf("got %v, receive returned: %t; want an error after it", err, returned)
	}
	t.Log(err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := transport.Prepare(ctx, []string{group}); err == nil || errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v, want why there is no connection", err)
	}
	f.server.Start()
	prepare(t, transport)
	again := consume(t, transport, nil)
	again.expect(delivery{"1", true})
	again.stop()
}

// testWaiting: Waiting counts what isn't acknowledged.
func (f *fixture) testWaiting(t *testing.T) {
	transport := f.transport(t)
	check := func(want int64) {
		t.Helper()
		if got, err := transport.Waiting(t.Context(), group); err != nil || got != want {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
	}
	check(0)
	publish(t, transport, "1", "2", "3")
	check(3)
	release := make(chan struct{})
	c := consume(t, transport, func(body string) error {
		if body == "3" {
			<-release
		}
		return nil
	})
	c.expect(delivery{"1", false}, delivery{"2", false}, delivery{"3", false})
	check(1)
	close(release)
	c.stop()
	check(0)
}

// testReplay shows how to read again what has been delivered: a consumer group of its
// own, put to a moment, reads from there on, and the group of the workers isn't
// concerned.
func (f *fixture) testReplay(t *testing.T) {
	transport := f.transport(t)
	publish(t, transport, "old")
	c := consume(t, transport, nil)
	c.expect(delivery{"old", false})
	moment := time.Now().Add(time.Millisecond) // the broker compares milliseconds
	testkit.Await(t, patience, "the moment", func() bool { return time.Now().After(moment) })
	publish(t, transport, "new", "newest")
	c.expect(delivery{"new", false}, delivery{"newest", false})

	admin := f.admin(t)
	const audit = "audit"
	since, err := admin.ListOffsetsAfterMilli(t.Context(), moment.UnixMilli(), transport.topic(group))
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.CommitAllOffsets(t.Context(), audit, since.Offsets()); err != nil {
		t.Fatal(err)
	}
	reader := newClient(t, f.address, kgo.ConsumerGroup(audit), kgo.ConsumeTopics(transport.topic(group)))
	var got []string
	for len(got) < 2 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		fetches := reader.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if strings.Join(got, " ") != "new newest" {
		t.Errorf("read %q", got)
	}
	c.stop()
	if len(c.deliveries) != 0 {
		t.Errorf("the workers' group got messages again: %v", <-c.deliveries)
	}
}
