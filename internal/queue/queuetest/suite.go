package queuetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// Run runs the suite on a broker, or on Postgres if b is nil. Those of its tests that
// make the server fail run when the others have ended.
func Run(t *testing.T, b *Broker) {
	t.Run("together", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *Broker){
			"delivers": testDelivers,
			"no redelivery after the acknowledgement":     testAcknowledged,
			"a stop loses nothing and uses up no attempt": testStop,
			"a failing message delays nobody":             testFailing,
			"consumers work in parallel":                  testParallel,
			"undecodable messages become dead letters":    testUndecodable,
			"unknown topics wait":                         testUnknown,
			"retries follow the backoff":                  testBackoff,
			"order of a key":                              testOrder,
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); test(t, b) })
		}
	})
	if b != nil {
		t.Run("the server is restarted", func(t *testing.T) { testRestart(t, b) })
		t.Run("the server hangs", func(t *testing.T) { testHang(t, b) })
	}
}

// testDelivers: each group gets each message, as it was published.
func testDelivers(t *testing.T, b *Broker) {
	f := newFixture(t, b, queue.Routes{"placed": {"stock", "payment"}})
	received := make(chan *queue.Message, 10)
	handler := func(_ context.Context, m *queue.Message) (queue.Effect, error) { received <- m; return nil, nil }
	f.worker(queue.Handlers{"stock": {"placed": handler}, "payment": {"placed": handler}}, queue.Config{})
	sent := &queue.Message{Topic: "placed", Key: "o1", Owner: "me", Version: 3, Payload: json.RawMessage(`"ä\n\\u0000"`), Traceparent: "00-aa-bb-01"}
	f.publish(sent)
	for range 2 {
		m := next(t, received)
		if m.ID != sent.ID || m.Topic != "placed" || m.Key != "o1" || m.Owner != "me" || m.Version != 3 || m.Traceparent != sent.Traceparent ||
			m.Attempt != 1 || len(m.History) != 0 || !m.PublishedAt.Equal(sent.PublishedAt) || string(m.Payload) != string(sent.Payload) {
			t.Errorf("got %+v, want %+v", m, sent)
		}
	}
	f.await("each group is done with it", func() bool { return f.count(`SELECT count(*) FROM queue_inbox`) == 2 })
}

// next returns the next value, or fails the test.
func next[T any](t *testing.T, values <-chan T) T {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// tally counts the deliveries of messages by their keys.
type tally struct {
	mu    sync.Mutex
	times map[string]int
}

func (c *tally) add(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == nil {
		c.times = map[string]int{}
	}
	c.times[key]++
}

// len returns how many keys there are.
func (c *tally) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.times)
}

// of returns how often a key came.
func (c *tally) of(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times[key]
}

// handler counts messages that nothing else happens with.
func (c *tally) handler(_ context.Context, m *queue.Message) (queue.Effect, error) {
	c.add(m.Key)
	return nil, nil
}

// numbered returns messages with the keys 0 to n-1.
func numbered(n int) []*queue.Message {
	list := make([]*queue.Message, n)
	for i := range list {
		list[i] = &queue.Message{Topic: "placed", Key: strconv.Itoa(i)}
	}
	return list
}

// inbox counts the messages that are done.
const inbox = `SELECT count(*) FROM queue_inbox`

// testAcknowledged: what is done isn't delivered to a consumer that comes later.
func testAcknowledged(t *testing.T, b *Broker) {
	f := newFixture(t, b, queue.Routes{"placed": {"stock"}})
	var first, second tally
	stop := f.worker(queue.Handlers{"stock": {"placed": first.handler}}, queue.Config{})
	f.publish(numbered(30)...)
	f.await("all are done", func() bool { return f.count(inbox) == 30 })
	stop()
	f.worker(queue.Handlers{"stock": {"placed": second.handler}}, queue.Config{})
	f.publish(&queue.Message{Topic: "placed", Key: "later"})
	f.await("a later one is done", func() bool { return second.of("later") == 1 })
	f.await("nothing is left", func() bool { return f.left("stock") == 0 })
	if second.len() != 1 {
		t.Errorf("delivered again: %v", second.times)
	}
}

// left returns how many messages of a group are in Postgres or in the broker.
func (f *fixture) left(group string) int64 {
	f.Helper()
	stats, err := f.queue.Stats(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range stats {
		if s.Group == group {
			return s.Ready + s.Delayed + s.InFlight + s.InBroker
		}
	}
	return 0
}

// testStop: workers stop in the middle of batches, some during handlers that end only
// when they are interrupted. Every message has one effect, at its first attempt.
func testStop(t *testing.T, b *Broker) {
	const messages = 200
	f := newFixture(t, b, queue.Routes{"placed": {"stock"}})
	var attempts, done tally
	f.publish(numbered(messages)...)
	for round := range 3 {
		began := make(chan struct{}, messages)
		stop := f.worker(queue.Handlers{"stock": {"placed": func(ctx context.Context, m *queue.Message) (queue.Effect, error) {
			attempts.add(strconv.Itoa(m.Attempt))
			began <- struct{}{}
			if n, _ := strconv.Atoi(m.Key); n%20 == round {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			done.add(m.Key)
			return nil, nil
		}}}, queue.Config{})
		for range 20 {
			next(t, began)
		}
		stop()
	}
	f.worker(queue.Handlers{"stock": {"placed": func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		attempts.add(strconv.Itoa(m.Attempt))
		done.add(m.Key)
		return nil, nil
	}}}, queue.Config{})
	f.await("all are done", func() bool { return f.count(inbox) == messages })
	if n := attempts.len(); n != 1 {
		t.Errorf("deliveries by attempt: %v", attempts.times)
	}
	for key, n := range done.times {
		if n != 1 {
			t.Errorf("message %s was processed %d times", key, n)
		}
	}
}

// testFailing: a message that always fails doesn't delay those behind it, also those
// of the same key.
func testFailing(t *testing.T, b *Broker) {
	f := newFixture(t, b, queue.Routes{"placed": {"stock"}})
	var done tally
	failed := make(chan struct{}, 100)
	f.worker(queue.Handlers{"stock": {"placed": func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		if string(m.Payload) == `"bad"` {
			failed <- struct{}{}
			return nil, errors.New("it always fails")
		}
		done.add(m.Key)
		return nil, nil
	}}}, queue.Config{Retry: queue.RetryPolicy{Base: time.Hour, Cap: time.Hour, MaxAttempts: 3}})
	f.publish(&queue.Message{Topic: "placed", Key: "0", Payload: json.RawMessage(`"bad"`)})
	next(t, failed)
	f.publish(numbered(50)...)
	f.await("those behind it are done", func() bool { return done.len() == 50 })
	for range 2 {
		f.await("it waits", func() bool {
			return f.count(`SELECT count(*) FROM river_job WHERE state <> 'completed' AND scheduled_at > now()`) == 1
		})
		f.hurry()
		next(t, failed)
	}
	f.await("it is a dead letter", func() bool { return f.count(`SELECT count(*) FROM dead_letters`) == 1 })
	letter := deadLetters(t, f.queue)[0]
	if letter.Attempts != 3 || len(letter.Message.History) != 3 {
		t.Errorf("dead letter after %d attempts with the history %+v", letter.Attempts, letter.Message.History)
	}
}

// testParallel: two consumers of a group run two handlers each at the same time.
func testParallel(t *testing.T, b *Broker) {
	f := newFixture(t, b, queue.Routes{"placed": {"stock"}})
	var at [2]chan struct{}
	release := make(chan struct{})
	for i := range at {
		at[i] = make(chan struct{}, 100)
		f.worker(queue.Handlers{"stock": {"placed": func(ctx context.Context, _ *queue.Message) (queue.Effect, error) {
			at[i] <- struct{}{}
			select {
			case <-release:
				return nil, nil
			case <-ctx.Done(): // too long: others wait for a consumer that isn't there yet
				return nil, queue.Postpone(time.Millisecond, errors.New("too early"))
			}
		}}}, queue.Config{Concurrency: 2})
	}
	f.publish(numbered(100)...)
	for range 2 {
		next(t, at[0])
		next(t, at[1])
	}
	close(release)
	f.await("all are done", func() bool { return f.count(inbox) == 100 })
}

// testUndecodable: what isn't a message becomes a dead letter at once, and holds up
// nobody.
func testUndecodable(t *testing.T, b *Broker) {
	f := newFixture(t, b, queue.Routes{"placed": {"stock"}})
	bodies := []string{`{"id": "x"}`, `[1]`}
	if b != nil {
		bodies = append(bodies, "no JSON", `{"id":"x","topic":"placed","payload":"\u0000"}`, "\xff\x00", "")
		if b.prepare(t, f.prefix, []string{"stock"}); b.Send == nil {
			t.Fatal("no way to send")
		}
	}
	if b != nil && b.EmptyRefused {
		bodies = bodies[:len(bodies)-1]
	}
	if b != nil && b.TextOnly {
		bodies = slices.DeleteFunc(bodies, func(body string) bool { return body == "\xff\x00" })
	}
	for _, body := range bodies {
		if b != nil {
			b.Send(t, f.prefix, "stock", []byte(body))
			continue
		}
		f.publish(&queue.Message{Topic: "placed"})
		if _, err := f.db.Exec(t.Context(), `UPDATE river_job SET args = $1 WHERE args ->> 'topic' = 'placed'`, body); err != nil {
			t.Fatal(err)
		}
	}
	f.publish(&queue.Message{Topic: "placed", Key: "good"})
	var done tally
	f.worker(queue.Handlers{"stock": {"placed": done.handler}}, queue.Config{})
	f.await("the good one is done", func() bool { return done.of("good") == 1 })
	f.await("the others are dead letters", func() bool { return f.count(`SELECT count(*) FROM dead_letters`) == len(bodies) })
	for _, letter := range deadLetters(t, f.queue) {
		if letter.Group != "stock" || letter.Reason == "" || len(letter.Message.Payload) == 0 {
			t.Errorf("dead letter %+v", letter)
		}
	}
	f.await("nothing is left", func() bool { return f.left("stock") == 0 })
}

// testUnknown: a message whose topic the instance doesn't know waits for another one
// that does, and no attempt is counted.
func testUnknown(t *testing.T, b *Broker) {
	f := newFixture(t, b, queue.Routes{"old": {"stock"}, "new": {"stock"}})
	stop := f.worker(queue.Handlers{"stock": {"old": new(tally).handler}}, queue.Config{})
	f.publish(&queue.Message{Topic: "new"})
	f.await("it waits", func() bool {
		return f.count(`SELECT count(*) FROM river_job WHERE args ? 'unknown_since' AND scheduled_at > now()`) == 1
	})
	stop()
	attempts := make(chan int, 1)
	f.worker(queue.Handlers{"stock": {"new": func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		attempts <- m.Attempt
		return nil, nil
	}}}, queue.Config{})
	f.hurry()
	if attempt := next(t, attempts); attempt != 1 {
		t.Errorf("attempt %d", attempt)
	}
}

// testBackoff: the time from a failure to the next attempt is random, at most the
// base for the first, and doubles up to the cap.
func testBackoff(t *testing.T, b *Broker) {
	f := newFixture(t, b, queue.Routes{"placed": {"stock"}})
	policy := queue.RetryPolicy{Base: time.Hour, Cap: 3 * time.Hour, MaxAttempts: 5}
	attempts := make(chan int, 10)
	f.worker(queue.Handlers{"stock": {"placed": func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		attempts <- m.Attempt
		return nil, fmt.Errorf("failure %d", m.Attempt)
	}}}, queue.Config{Retry: policy})
	f.publish(&queue.Message{Topic: "placed"})
	for attempt := 1; attempt < policy.MaxAttempts; attempt++ {
		if got := next(t, attempts); got != attempt {
			t.Fatalf("attempt %d, want %d", got, attempt)
		}
		const waiting = `FROM river_job WHERE state <> 'completed' AND args ->> 'attempt' = $1 AND scheduled_at > now()`
		f.await("it waits for the next attempt", func() bool { return f.count(`SELECT count(*) `+waiting, strconv.Itoa(attempt)) == 1 })
		var delay float64
		if err := f.db.QueryRow(t.Context(), `SELECT extract(epoch FROM scheduled_at - created_at)::float8 `+waiting, strconv.Itoa(attempt)).Scan(&delay); err != nil {
			t.Fatal(err)
		}
		if most := min(policy.Base<<(attempt-1), policy.Cap) + time.Minute; delay < 0 || delay > most.Seconds() {
			t.Errorf("after attempt %d it waits %.0f s, want at most %s", attempt, delay, most)
		}
		f.hurry()
	}
	f.await("it is a dead letter", func() bool { return f.count(`SELECT count(*) FROM dead_letters`) == 1 })
	history := deadLetters(t, f.queue)[0].Message.History
	for i, failure := range history {
		if want := fmt.Sprintf("failure %d", i+1); failure.Error != want || len(history) != policy.MaxAttempts {
			t.Errorf("failure %d of %d: %q, want %q", i+1, len(history), failure.Error, want)
		}
	}
}

// testOrder: where it is promised, messages of a key that were published one after
// another are received one after another, also when a second consumer joins. A
// redelivered one may repeat what came before.
func testOrder(t *testing.T, b *Broker) {
	if b == nil || !b.Ordered {
		return // nothing is promised
	}
	const keys, each = 5, 40
	prefix := newPrefix()
	publisher := b.prepare(t, prefix, []string{"stock"})
	var mu sync.Mutex
	last, received := map[string]int{}, 0
	receive := func(in queue.Incoming) error {
		var m struct{ Key, Number int }
		if err := json.Unmarshal(in.Body, &m); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		key := strconv.Itoa(m.Key)
		if m.Number != last[key]+1 && !in.Redelivered {
			t.Errorf("key %s: %d after %d", key, m.Number, last[key])
		}
		if m.Number > last[key] {
			received++
		}
		last[key] = max(last[key], m.Number)
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	var consumers sync.WaitGroup
	join := func() {
		transport := b.prepare(t, prefix, []string{"stock"})
		consumers.Go(func() {
			if err := transport.Consume(ctx, "stock", 8, receive); err != nil {
				t.Error(err)
			}
		})
	}
	join()
	for number := 1; number <= each; number++ {
		for key := range keys {
			body, _ := json.Marshal(map[string]int{"Key": key, "Number": number})
			if err := publisher.Publish(t.Context(), "stock", queue.Outgoing{ID: newPrefix(), Key: strconv.Itoa(key), Body: body}); err != nil {
				t.Fatal(err)
			}
		}
		if number == each/2 {
			join()
		}
	}
	testkit.Await(t, patience, "all are received", func() bool { mu.Lock(); defer mu.Unlock(); return received == keys*each })
	cancel()
	consumers.Wait()
}
