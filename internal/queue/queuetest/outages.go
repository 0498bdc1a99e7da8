package queuetest

import (
	"strconv"
	"testing"

	"ratelimiter/internal/queue"
)

// flow publishes messages until the test has seen enough, each with one effect.
type flow struct {
	*fixture
	published int
}

// newFlow starts two workers.
func newFlow(t *testing.T, b *Broker) *flow {
	f := newFixture(t, b, queue.Routes{"placed": {"stock"}})
	b.prepare(t, f.prefix, []string{"stock"})
	for range 2 {
		f.worker(queue.Handlers{"stock": {"placed": new(tally).handler}}, queue.Config{})
	}
	return &flow{fixture: f}
}

// send publishes 50 messages.
func (f *flow) send() {
	f.Helper()
	for range 50 {
		f.publish(&queue.Message{Topic: "placed", Key: strconv.Itoa(f.published)})
		f.published++
	}
}

// awaitAll waits until all that were published are done.
func (f *flow) awaitAll() {
	f.Helper()
	f.await("all are done", func() bool { f.hurry(); return f.count(inbox) == f.published })
	if n := f.count(`SELECT count(*) FROM dead_letters`); n != 0 {
		f.Errorf("%d dead letters", n)
	}
}

// testRestart: the server is killed and started again while messages flow. They are
// accepted all the time, and all are delivered.
func testRestart(t *testing.T, b *Broker) {
	f := newFlow(t, b)
	for range 2 {
		f.send()
		b.Server.Kill()
		f.send() // they wait in Postgres
		b.Server.Start()
		f.send()
	}
	f.awaitAll()
}

// testHang: the server hangs while messages flow, for longer than a publisher waits.
func testHang(t *testing.T, b *Broker) {
	f := newFlow(t, b)
	f.send()
	f.awaitAll()
	b.Server.Pause()
	f.send()
	f.await("the messages wait in Postgres again", func() bool {
		return f.count(`SELECT count(*) FROM river_job WHERE state <> 'completed' AND args ->> 'topic' = 'placed' AND (metadata ->> 'snoozes')::int > 0`) >= 50
	})
	b.Server.Continue()
	f.awaitAll()
}
