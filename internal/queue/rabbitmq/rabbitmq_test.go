package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/rabbitmq"
	"ratelimiter/internal/testkit"
)

// patience is how long something that must happen is waited for.
const patience = time.Minute

// TestTransport runs on one server, because it takes seconds to start.
func TestTransport(t *testing.T) {
	server := testkit.RabbitMQ(t)
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"unroutable messages are errors", testUnroutable},
		{"failed messages come again", testFailed},
		{"dropped messages are consumed", testDropped},
		{"what is held is taken by nobody", testPrefetch},
		{"a stop redelivers nothing", testStop},
		{"a lost connection", testLostConnection},
		{"a deleted queue", testDeletedQueue},
		{"permissions", testPermissions},
		{"queue with other arguments", testOtherArguments},
		{"unreachable", testUnreachable},
		{"TLS", testTLS},
		{"short of memory", testShortOfMemory},
		{"a hanging server", testHang},
		{"a killed server", testKill},
	} {
		t.Run(test.name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
			f := &fixture{T: t, server: server, prefix: "test-" + strings.ToLower(rand.Text()[:10])}
			f.transport = f.open(server.URL())
			test.run(f)
		})
	}
	t.Run("suite", func(t *testing.T) { testSuite(t, server) })
}

// fixture is a transport with queues of its own.
type fixture struct {
	*testing.T

	server    *testkit.RabbitServer
	prefix    string
	transport *rabbitmq.Transport
}

// open returns a transport that is closed at the end of the test.
func (f *fixture) open(url string) *rabbitmq.Transport {
	f.Helper()
	transport, err := rabbitmq.New(url, f.prefix)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(transport.Close)
	return transport
}

// queue is the name of the queue of the group "stock".
func (f *fixture) queue() string { return f.prefix + ".stock" }

// within returns a context that ends before the test gives up.
func (f *fixture) within(limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	f.Cleanup(cancel)
	return ctx
}

func (f *fixture) prepare() {
	f.Helper()
	if err := f.transport.Prepare(f.within(patience), []string{"stock", "mail"}); err != nil {
		f.Fatal(err)
	}
}

// publish publishes the numbers from 0 to n-1 to the group "stock", all at once.
func (f *fixture) publish(n int) {
	f.Helper()
	ctx := f.within(patience)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			m := queue.Outgoing{ID: fmt.Sprintf("m%d", i), Body: fmt.Appendf(nil, "%d", i)}
			if err := f.transport.Publish(ctx, "stock", m); err != nil {
				f.Error(err)
			}
		})
	}
	wait.Wait()
	if f.Failed() {
		f.FailNow()
	}
}

// consumption is a Consume that runs.
type consumption struct {
	*fixture

	stop  context.CancelFunc
	ended chan error
}

// consume consumes the group "stock" until the end of the test.
func (f *fixture) consume(transport *rabbitmq.Transport, parallel int, receive func(queue.Incoming) error) *consumption {
	ctx, cancel := context.WithCancel(context.Background())
	c := &consumption{f, cancel, make(chan error, 1)}
	go func() { c.ended <- transport.Consume(ctx, "stock", parallel, receive) }()
	f.Cleanup(func() {
		if cancel(); c.ended != nil {
			_ = c.result()
		}
	})
	return c
}

// result waits for the end of the Consume and returns its error.
func (c *consumption) result() error {
	c.Helper()
	select {
	case err := <-c.ended:
		c.ended = nil
		return err
	case <-time.After(patience):
		c.Fatal("Consume doesn't return")
		return nil
	}
}

// next returns the next value, or fails the test.
func next[T any](f *fixture, values <-chan T) T {
	f.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(patience):
		f.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// awaitWaiting waits until so many messages wait in the broker.
func (f *fixture) awaitWaiting(want int64) {
	f.Helper()
	var n int64
	var err error
	defer func() {
		if f.Failed() {
			f.Logf("%d messages wait: %v", n, err)
		}
	}()
	testkit.Await(f, patience, fmt.Sprintf("%d messages wait", want), func() bool {
		n, err = f.transport.Waiting(f.within(patience), "stock")
		return err == nil && n == want
	})
}

// testUnroutable: a message that no queue takes is an error, while one of the same ID
// for another group is published.
func testUnroutable(f *fixture) {
	f.prepare()
	f.server.Ctl("delete_queue", f.queue())
	const n = 20
	var errs [2 * n]error
	var wait sync.WaitGroup
	for i := range errs {
		group := []string{"stock", "mail"}[i%2]
		wait.Go(func() {
			errs[i] = f.transport.Publish(f.within(patience), group, queue.Outgoing{ID: strconv.Itoa(i / 2), Body: []byte("{}")})
		})
	}
	wait.Wait()
	for i, err := range errs {
		if i%2 == 0 && (err == nil || !strings.Contains(err.Error(), "the queue "+f.queue()+" doesn't exist")) || i%2 == 1 && err != nil {
			f.Errorf("message %d: %v", i, err)
		}
	}
	f.prepare()
	f.publish(1)
	f.awaitWaiting(1)
}

// testFailed: a message whose receive failed is delivered again, marked.
func testFailed(f *fixture) {
	f.prepare()
	f.publish(1)
	deliveries := make(chan queue.Incoming, 10)
	seen := 0
	f.consume(f.transport, 1, func(in queue.Incoming) error {
		deliveries <- in
		if seen++; seen < 3 {
			return errTest
		}
		return nil
	})
	for i := range 3 {
		if in := next(f, deliveries); in.Redelivered != (i > 0) || string(in.Body) != "0" {
			f.Errorf("delivery %d: %+v", i, in)
		}
	}
	f.awaitWaiting(0)
}

// testDropped: messages that the broker gives up to deliver, because of the delivery
// limit or of a policy of the operator, are received, marked.
func testDropped(f *fixture) {
	f.prepare()
	f.publish(1)
	const beyondLimit = 40
	var mu sync.Mutex
	seen := 0
	release := make(chan struct{})
	unblock := sync.OnceFunc(func() { close(release) })
	defer unblock()
	c := f.consume(f.transport, 1, func(in queue.Incoming) error {
		mu.Lock()
		seen++
		seen := seen
		mu.Unlock()
		if seen > 1 && !in.Redelivered {
			f.Errorf("delivery %d isn't marked", seen)
		}
		if seen < beyondLimit {
			return errTest
		}
		<-release
		return nil
	})
	testkit.Await(f, patience, "it is delivered more often than the limit", func() bool { mu.Lock(); defer mu.Unlock(); return seen == beyondLimit })
	inDropped := func() bool { // the broker counts from time to time
		return strings.Contains(f.server.Ctl("list_queues", "name", "messages"), f.queue()+".dropped\t1\n")
	}
	testkit.Await(f, patience, "it is in the queue of dropped messages", inDropped)
	unblock()
	c.stop()
	if err := c.result(); err != nil {
		f.Error(err)
	}

	f.server.Ctl("set_policy", "--apply-to", "queues", f.prefix, "^"+f.queue()+"$", `{"message-ttl": 1}`)
	f.publish(1)
	f.awaitWaiting(1) // it has expired, and still waits
	testkit.Await(f, patience, "it has expired", inDropped)
	deliveries := make(chan queue.Incoming, 10)
	f.consume(f.transport, 1, func(in queue.Incoming) error { deliveries <- in; return nil })
	if in := next(f, deliveries); !in.Redelivered || string(in.Body) != "0" {
		f.Errorf("got %+v", in)
	}
	f.awaitWaiting(0)
}

// testPrefetch: a consumer takes only what it can receive.
func testPrefetch(f *fixture) {
	f.prepare()
	f.publish(10)
	release := make(chan struct{})
	unblock := sync.OnceFunc(func() { close(release) })
	defer unblock()
	held := make(chan struct{}, 10)
	f.consume(f.transport, 2, func(queue.Incoming) error { held <- struct{}{}; <-release; return nil })
	next(f, held)
	next(f, held)
	others := make(chan queue.Incoming, 10)
	f.consume(f.open(f.server.URL()), 5, func(in queue.Incoming) error { others <- in; return nil })
	for range 8 {
		if in := next(f, others); in.Redelivered {
			f.Errorf("%s was taken before", in.Body)
		}
	}
	unblock()
	f.awaitWaiting(0)
}

// testStop: all that a consumer has taken is received before Consume returns, and
// isn't delivered to the next one.
func testStop(f *fixture) {
	f.prepare()
	const n = 500
	f.publish(n)
	var mu sync.Mutex
	times := map[string]int{}
	received := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(times)
	}
	for received() < n {
		began := make(chan struct{}, n)
		c := f.consume(f.transport, 10, func(in queue.Incoming) error {
			mu.Lock()
			defer mu.Unlock()
			if in.Redelivered {
				f.Errorf("%s was taken before", in.Body)
			}
			times[string(in.Body)]++
			began <- struct{}{}
			return nil
		})
		for range min(25, n-received()) {
			next(f, began)
		}
		c.stop()
		if err := c.result(); err != nil {
			f.Fatal(err)
		}
	}
	for body, n := range times {
		if n != 1 {
			f.Errorf("%s was received %d times", body, n)
		}
	}
	f.awaitWaiting(0)
}

// testLostConnection: Consume returns an error when the connection is lost, after
// running calls have returned, and what they had comes again, marked.
func testLostConnection(f *fixture) {
	f.prepare()
	f.publish(3)
	began, release := make(chan struct{}, 3), make(chan struct{})
	unblock := sync.OnceFunc(func() { close(release) })
	defer unblock()
	c := f.consume(f.transport, 2, func(queue.Incoming) error { began <- struct{}{}; <-release; return nil })
	next(f, began)
	next(f, began)
	f.server.Ctl("close_all_connections", "by the test")
	deliveries := make(chan queue.Incoming, 3)
	f.consume(f.open(f.server.URL()), 1, func(in queue.Incoming) error { deliveries <- in; return nil })
	marked := 0
	for range 3 {
		if next(f, deliveries).Redelivered {
			marked++
		}
	}
	if marked != 2 {
		f.Errorf("%d of 2 are marked", marked)
	}
	select {
	case err := <-c.ended:
		f.Fatalf("Consume returned during calls: %v", err)
	default:
	}
	unblock()
	if err := c.result(); err == nil || !strings.Contains(err.Error(), "by the test") {
		f.Errorf("Consume returned %v", err)
	}
	f.publish(1)
	next(f, deliveries)
}

// testDeletedQueue: Consume returns an error when its queue is deleted, and works
// again after Prepare.
func testDeletedQueue(f *fixture) {
	if err := f.consume(f.transport, 1, nil).result(); err == nil || !strings.Contains(err.Error(), "NOT_FOUND") {
		f.Errorf("Consume without a queue returned %v", err)
	}
	for _, name := range []string{f.queue(), f.queue() + ".dropped"} {
		f.prepare()
		deliveries := make(chan queue.Incoming, 1)
		c := f.consume(f.transport, 1, func(in queue.Incoming) error { deliveries <- in; return nil })
		f.publish(1)
		next(f, deliveries)
		f.server.Ctl("delete_queue", name)
		if err := c.result(); err == nil || !strings.Contains(err.Error(), "the queue "+name+" was deleted") {
			f.Errorf("Consume returned %v", err)
		}
	}
}

// testHang: nothing waits for a hanging server longer than it may, also before
// heartbeats are missed, and all works again when the server does.
func testHang(f *fixture) {
	patient, fickle := f.open(f.server.URL()+"/?heartbeat=0"), f.open(f.server.URL()+"/?heartbeat=2")
	f.transport = patient
	f.prepare()
	f.publish(1)
	deliveries := make(chan queue.Incoming, 10)
	receive := func(in queue.Incoming) error { deliveries <- in; return nil }
	lost, stopped := f.consume(fickle, 1, receive), f.consume(patient, 1, receive)
	next(f, deliveries)
	testkit.Await(f, patience, "both consume", func() bool {
		return strings.Contains(f.server.Ctl("list_queues", "name", "consumers"), f.queue()+"\t2\n")
	})
	f.server.Pause()
	brief := func() context.Context { return f.within(100 * time.Millisecond) }
	_, waiting := patient.Waiting(brief(), "stock")
	for call, err := range map[string]error{
		"Publish":                patient.Publish(brief(), "stock", queue.Outgoing{ID: "x", Body: []byte("x")}),
		"Waiting":                waiting,
		"Prepare":                patient.Prepare(brief(), []string{"stock"}),
		"Publish, not connected": f.open(f.server.URL()).Publish(brief(), "stock", queue.Outgoing{ID: "y", Body: []byte("y")}),
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			f.Errorf("%s returned %v", call, err)
		}
	}
	large := queue.Outgoing{ID: "z", Body: make([]byte, 32<<20)} // more than fits into the socket
	if err := patient.Publish(brief(), "stock", large); !errors.Is(err, os.ErrDeadlineExceeded) {
		f.Errorf("Publish of a large message returned %v", err)
	}
	stopped.stop()
	if err := stopped.result(); err != nil {
		f.Errorf("Consume returned %v", err)
	}
	if err := lost.result(); err == nil {
		f.Error("Consume returned without an error")
	}
	patient.Close()
	f.server.Continue()
	f.transport = f.open(f.server.URL())
	f.prepare()
	f.consume(f.transport, 1, receive)
	f.publish(1)
	next(f, deliveries)
}

// testKill: messages that were confirmed are there after the server was killed. Those
// that were delivered before are marked.
func testKill(f *fixture) {
	f.prepare()
	f.server.Sync()
	const n, held = 200, 5
	f.publish(n)
	began, release := make(chan string, n), make(chan struct{})
	unblock := sync.OnceFunc(func() { close(release) })
	defer unblock()
	c := f.consume(f.transport, held, func(in queue.Incoming) error { began <- string(in.Body); <-release; return nil })
	before := map[string]bool{}
	for range held {
		before[next(f, began)] = true
	}
	f.server.Kill()
	unblock()
	if err := c.result(); err == nil {
		f.Error("Consume returned without an error")
	}
	if err := f.transport.Publish(f.within(patience), "stock", queue.Outgoing{ID: "x"}); err == nil {
		f.Error("Publish succeeded")
	}
	f.server.Start()
	deliveries := make(chan queue.Incoming, 2*n)
	f.consume(f.transport, 10, func(in queue.Incoming) error { deliveries <- in; return nil })
	for range n {
		in := next(f, deliveries)
		if in.Redelivered != before[string(in.Body)] {
			f.Errorf("message %s, redelivered %t, was held: %t", in.Body, in.Redelivered, before[string(in.Body)])
		}
	}
	f.publish(1)
	next(f, deliveries)
}

// testShortOfMemory: a server that takes no messages says so, and delivers those that
// it has.
func testShortOfMemory(f *fixture) {
	f.prepare()
	f.publish(2)
	f.server.Ctl("set_vm_memory_high_watermark", "absolute", "1")
	f.Cleanup(func() { f.server.Ctl("set_vm_memory_high_watermark", "absolute", "512MB") })
	try := func(limit time.Duration) error {
		return f.transport.Publish(f.within(limit), "stock", queue.Outgoing{ID: "x", Body: []byte("x")})
	}
	testkit.Await(f, patience, "publishers are blocked", func() bool {
		err := try(100 * time.Millisecond)
		return err != nil && strings.Contains(err.Error(), "low on memory")
	})
	deliveries := make(chan queue.Incoming, 1000)
	f.consume(f.transport, 1, func(in queue.Incoming) error { deliveries <- in; return nil })
	next(f, deliveries)
	next(f, deliveries)
	f.awaitWaiting(0)
	f.server.Ctl("set_vm_memory_high_watermark", "absolute", "512MB")
	testkit.Await(f, patience, "it takes messages", func() bool { return try(time.Second) == nil })
}
