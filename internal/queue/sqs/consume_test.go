package sqs

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/internal/queue"
)

// oneQueue is a fake server with one queue, whose messages are sent to the channel.
type oneQueue struct {
	messages chan string
	latency  time.Duration // of an answer to ReceiveMessage, with or without messages
	asked    atomic.Int64  // MaxNumberOfMessages of the last ReceiveMessage
	extended chan float64  // VisibilityTimeout of each ChangeMessageVisibility
	deleted  chan string   // ReceiptHandle of each DeleteMessage
}

func newOneQueue(messages ...string) *oneQueue {
	q := &oneQueue{messages: make(chan string, 100), extended: make(chan float64, 100), deleted: make(chan string, 100)}
	for _, m := range messages {
		q.messages <- m
	}
	return q
}

func (q *oneQueue) answer(ctx context.Context, action string, request map[string]any) (int, map[string]any) {
	switch action {
	case "GetQueueUrl":
		return 200, map[string]any{"QueueUrl": "http://127.0.0.1:1/p-g"}
	case "DeleteMessage":
		q.deleted <- request["ReceiptHandle"].(string)
	case "ChangeMessageVisibility":
		q.extended <- request["VisibilityTimeout"].(float64)
	case "ReceiveMessage":
		q.asked.Store(int64(request["MaxNumberOfMessages"].(float64)))
		select {
		case <-ctx.Done():
			return 200, nil
		case <-time.After(q.latency):
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(request["WaitTimeSeconds"].(float64)) * time.Second):
		case m := <-q.messages:
			return 200, map[string]any{"Messages": []any{map[string]any{
				"Body": m, "ReceiptHandle": m, "Attributes": map[string]any{"ApproximateReceiveCount": "1"},
			}}}
		}
	}
	return 200, map[string]any{}
}

// TestTransport_Consume_extends checks that a message is kept from others while it is
// received: at any time, most of its visibility is left.
func TestTransport_Consume_extends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newOneQueue("m")
		transport := withFake(t, q.answer)
		ctx, cancel := context.WithCancel(t.Context())
		err := transport.Consume(ctx, "g", 1, func(queue.Incoming) error {
			time.Sleep(5 * time.Minute) // an outage of Postgres
			cancel()
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if got, want := len(q.extended), int(5*time.Minute/(visibility/3)); got < want-1 || got > want {
			t.Errorf("the message was extended %d times, want %d", got, want)
		}
		for len(q.extended) > 0 {
			if got := <-q.extended; got != visibility.Seconds() {
				t.Errorf("extended to %v s, want %v", got, visibility)
			}
		}
		if len(q.deleted) != 1 {
			t.Errorf("%d messages were deleted, want 1", len(q.deleted))
		}
	})
}

// TestTransport_Consume_failed checks that a message whose receive failed is
// delivered again at once, and isn't deleted.
func TestTransport_Consume_failed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newOneQueue("m")
		transport := withFake(t, q.answer)
		ctx, cancel := context.WithCancel(t.Context())
		err := transport.Consume(ctx, "g", 1, func(queue.Incoming) error {
			cancel()
			return errors.New("the outcome can't be recorded")
		})
		if err != nil || len(q.deleted) != 0 || len(q.extended) != 1 || <-q.extended != 0 {
			t.Errorf("%v, %d deleted; want a visibility of 0", err, len(q.deleted))
		}
	})
}

// TestTransport_Consume_stop checks that a stop receives what SQS is handing out, and
// that it doesn't wait for other messages.
func TestTransport_Consume_stop(t *testing.T) {
	t.Run("receives what was taken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := newOneQueue("m")
			q.latency = longPoll / 2
			transport := withFake(t, q.answer)
			ctx, cancel := context.WithTimeout(t.Context(), longPoll/4) // during the call
			defer cancel()
			received := 0
			err := transport.Consume(ctx, "g", 10, func(queue.Incoming) error { received++; return nil })
			if err != nil || received != 1 || len(q.deleted) != 1 {
				t.Errorf("%v, %d received, %d deleted; want 1", err, received, len(q.deleted))
			}
		})
	})
	t.Run("ends a wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			transport := withFake(t, newOneQueue().answer)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			began := time.Now()
			if err := transport.Consume(ctx, "g", 10, nil); err != nil || time.Since(began) > longPoll {
				t.Errorf("%v after %s, want nil after %s", err, time.Since(began), longPoll)
			}
		})
	})
}

// TestTransport_Consume_takes checks that no more messages are taken than can be
// received at once: others could receive them.
func TestTransport_Consume_takes(t *testing.T) {
	for _, parallel := range []int{3, 25} {
		synctest.Test(t, func(t *testing.T) {
			q := newOneQueue()
			transport := withFake(t, q.answer)
			ctx, cancel := context.WithCancel(t.Context())
			hold := make(chan struct{})
			consumed := make(chan error, 1)
			go func() {
				consumed <- transport.Consume(ctx, "g", parallel, func(queue.Incoming) error { <-hold; return nil })
			}()
			for running := range parallel {
				synctest.Wait()
				if got, want := int(q.asked.Load()), min(maxBatch, parallel-running); got != want && running != 0 {
					t.Errorf("of %d at once, %d run: asked for %d, want %d", parallel, running, got, want)
				}
				q.messages <- "m"
			}
			q.messages <- "one too many"
			synctest.Wait()
			if len(q.messages) != 1 {
				t.Errorf("it took more than %d messages", parallel)
			}
			cancel()
			close(hold)
			if err := <-consumed; err != nil || len(q.deleted) != parallel {
				t.Errorf("%v, %d deleted, want %d", err, len(q.deleted), parallel)
			}
		})
	}
}

// TestTransport_Consume_error checks that the running calls end before Consume does.
func TestTransport_Consume_error(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newOneQueue("m")
		broken := atomic.Bool{}
		transport := withFake(t, func(ctx context.Context, action string, request map[string]any) (int, map[string]any) {
			if action == "ReceiveMessage" && broken.Load() {
				return 500, map[string]any{"__type": "InternalFailure"}
			}
			return q.answer(ctx, action, request)
		})
		ended := false
		err := transport.Consume(t.Context(), "g", 2, func(queue.Incoming) error {
			broken.Store(true)
			time.Sleep(time.Minute)
			ended = true
			return nil
		})
		if err == nil || !ended || len(q.deleted) != 1 {
			t.Errorf("%v, ended=%t, %d deleted; want an error after the running call and its acknowledgement", err, ended, len(q.deleted))
		}
	})
}

// TestTransport_Consume_without_receive_count checks that a server which doesn't say what
// is delivered again is refused.
func TestTransport_Consume_without_receive_count(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newOneQueue("m")
		transport := withFake(t, func(ctx context.Context, action string, request map[string]any) (int, map[string]any) {
			if action == "ReceiveMessage" {
				return 200, map[string]any{"Messages": []any{map[string]any{"MessageId": "1", "ReceiptHandle": "1", "Body": "{}"}}}
			}
			return q.answer(ctx, action, request)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := transport.Consume(ctx, "g", 1, func(queue.Incoming) error {
			time.Sleep(time.Second)
			t.Error("received")
			return nil
		})
		if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "ApproximateReceiveCount") {
			t.Errorf("got %v", err)
		}
	})
}

// TestTransport_deadlines checks that no call waits forever for a server that hangs.
func TestTransport_deadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := withFake(t, func(ctx context.Context, action string, request map[string]any) (int, map[string]any) {
			if action != "GetQueueUrl" {
				<-ctx.Done()
			}
			return newOneQueue().answer(ctx, action, request)
		})
		_, waiting := transport.Waiting(t.Context(), "g")
		for call, err := range map[string]error{
			"Prepare": transport.Prepare(t.Context(), []string{"g"}),
			"Publish": transport.Publish(t.Context(), "g", queue.Outgoing{}),
			"Consume": transport.Consume(t.Context(), "g", 1, nil),
			"Waiting": waiting,
		} {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, want the deadline", call, err)
			}
		}
	})
}
