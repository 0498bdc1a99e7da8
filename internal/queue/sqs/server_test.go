package sqs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// patience bounds what takes some milliseconds on an idle machine.
const patience = 60 * time.Second

// TestServer runs what depends on a server on one ElasticMQ.
func TestServer(t *testing.T) {
	server := testkit.ElasticMQ(t)
	for name, test := range map[string]func(*testing.T, *testkit.ElasticMQServer){
		"creates_queues":           testCreates,
		"uses_queues_of_operators": testExisting,
		"recreates_a_queue":        testDeleted,
		"delivers_any_JSON":        testBodies,
		"refuses_large_messages":   testTooLarge,
		"marks_second_deliveries":  testRedelivered,
		"counts_waiting":           testWaiting,
		"redrives_natively":        testRedrive,
		"publishes_after_a_pause":  testPaused,
	} {
		t.Run(name, func(t *testing.T) { test(t, server) })
	}
}

// prepared returns a transport that is prepared for the group "g", and its log.
func prepared(t *testing.T, server *testkit.ElasticMQServer) (*Transport, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{} // written by Prepare, not concurrently
	prefix := strings.NewReplacer("/", "-").Replace(t.Name())
	transport := newTransport(t, server.Endpoint(), prefix, slog.New(slog.NewTextHandler(log, nil)))
	if err := transport.Prepare(t.Context(), []string{"g"}); err != nil {
		t.Fatal(err)
	}
	return transport, log
}

// publish publishes a body to the group "g".
func publish(t *testing.T, transport *Transport, body string) {
	t.Helper()
	if err := transport.Publish(t.Context(), "g", queue.Outgoing{ID: "1", Key: "k", Body: []byte(body)}); err != nil {
		t.Fatal(err)
	}
}

// consume receives the messages of the group "g" until receive has returned n times.
func consume(t *testing.T, transport *Transport, n int, receive func(queue.Incoming) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	count := 0
	err := transport.Consume(ctx, "g", 1, func(in queue.Incoming) error {
		mu.Lock()
		defer mu.Unlock()
		if count++; count == n {
			cancel()
		}
		return receive(in)
	})
	if err != nil || count < n {
		t.Fatalf("%d messages, %v; want %d", count, err, n)
	}
}

// attribute reads an attribute of a queue.
func attribute(t *testing.T, transport *Transport, address string, name types.QueueAttributeName) string {
	t.Helper()
	attributes, err := transport.attributes(t.Context(), address, name)
	if err != nil {
		t.Fatal(err)
	}
	return attributes[string(name)]
}

// address returns the URL of the queue of the group "g".
func address(t *testing.T, transport *Transport) string {
	t.Helper()
	address, err := transport.address(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// create creates a queue as an operator could.
func create(t *testing.T, transport *Transport, name string, attributes map[string]string) string {
	t.Helper()
	created, err := transport.client.CreateQueue(t.Context(), &awssqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return *created.QueueUrl
}

func testCreates(t *testing.T, server *testkit.ElasticMQServer) {
	transport, log := prepared(t, server)
	if err := transport.Prepare(t.Context(), []string{"g", "h"}); err != nil {
		t.Errorf("again, with one more group: %v", err)
	}
	if strings.Contains(log.String(), "WARN") {
		t.Errorf("warnings about own queues: %s", log)
	}
}

func testExisting(t *testing.T, server *testkit.ElasticMQServer) {
	transport, log := prepared(t, server)
	dead := create(t, transport, transport.name("dead"), nil)
	arn := attribute(t, transport, dead, types.QueueAttributeNameQueueArn)
	create(t, transport, transport.name("theirs"), map[string]string{
		"VisibilityTimeout": "7",
		"RedrivePolicy":     fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"3"}`, arn),
	})
	for range 2 {
		if err := transport.Prepare(t.Context(), []string{"theirs"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(log.String(), "set maxReceiveCount to 10"); got != 1 {
		t.Errorf("%d warnings, want 1; log: %s", got, log)
	}
}

func testDeleted(t *testing.T, server *testkit.ElasticMQServer) {
	transport, _ := prepared(t, server)
	if _, err := transport.client.DeleteQueue(t.Context(), &awssqs.DeleteQueueInput{QueueUrl: aws.String(address(t, transport))}); err != nil {
		t.Fatal(err)
	}
	err := transport.Publish(t.Context(), "g", queue.Outgoing{Body: []byte("{}")})
	if err == nil || errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("publish: %v, want an error that passes", err)
	}
	if err := transport.Consume(t.Context(), "g", 1, nil); err == nil || errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("consume: %v, want an error that passes", err)
	}
	if err := transport.Prepare(t.Context(), []string{"g"}); err != nil {
		t.Fatal(err)
	}
	publish(t, transport, "{}")
}

func testBodies(t *testing.T, server *testkit.ElasticMQServer) {
	transport, _ := prepared(t, server)
	for body, want := range map[string]string{
		`{"a":"ä€😀\u0000\n"}`:                    `{"a":"ä€😀\u0000\n"}`,
		"{\"a\":\"\ufffe\uffff\ufffd\"}":         "{\"a\":\"\\ufffe\\uffff\ufffd\"}",
		"no JSON \t <&>":                         "no JSON \t <&>",
		`"` + strings.Repeat("x", 200_000) + `"`: `"` + strings.Repeat("x", 200_000) + `"`,
	} {
		publish(t, transport, body)
		consume(t, transport, 1, func(in queue.Incoming) error {
			if string(in.Body) != want || in.Redelivered {
				t.Errorf("got %.100q, redelivered=%t, want %.100q", in.Body, in.Redelivered, want)
			}
			return nil
		})
	}
}

func testTooLarge(t *testing.T, server *testkit.ElasticMQServer) {
	transport, _ := prepared(t, server)
	err := transport.Publish(t.Context(), "g", queue.Outgoing{Body: bytes.Repeat([]byte("x"), 1<<20+1)})
	if err == nil || errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("%v, want an error", err)
	}
}

func testRedelivered(t *testing.T, server *testkit.ElasticMQServer) {
	transport, _ := prepared(t, server)
	publish(t, transport, "{}")
	var marks []bool
	consume(t, transport, 3, func(in queue.Incoming) error {
		marks = append(marks, in.Redelivered)
		if len(marks) < 3 {
			return errors.New("the outcome can't be recorded")
		}
		return nil
	})
	if fmt.Sprint(marks) != "[false true true]" {
		t.Errorf("redelivered: %v, want false for the first only", marks)
	}
}

func testWaiting(t *testing.T, server *testkit.ElasticMQServer) {
	transport, _ := prepared(t, server)
	for range 3 {
		publish(t, transport, "{}")
	}
	other := newTransport(t, server.Endpoint(), transport.prefix, slog.New(slog.DiscardHandler)) // that doesn't know the queue
	if n, err := other.Waiting(t.Context(), "g"); err != nil || n != 3 {
		t.Errorf("%d, %v; want 3", n, err)
	}
	consume(t, transport, 3, func(queue.Incoming) error {
		if n, err := transport.Waiting(t.Context(), "g"); err != nil || n < 1 {
			t.Errorf("during a delivery: %d, %v; want it to be counted", n, err)
		}
		return nil
	})
	if n, err := transport.Waiting(t.Context(), "g"); err != nil || n != 0 {
		t.Errorf("%d, %v; want 0", n, err)
	}
	if n := attribute(t, transport, address(t, transport), types.QueueAttributeNameApproximateNumberOfMessagesNotVisible); n != "0" {
		t.Errorf("%s messages aren't acknowledged", n)
	}
}

// testRedrive is the worked example of the documentation: what an operator's redrive
// policy has moved to a dead-letter queue is moved back by SQS, and arrives as any
// message.
func testRedrive(t *testing.T, server *testkit.ElasticMQServer) {
	transport, _ := prepared(t, server)
	dead := create(t, transport, transport.name("dead"), nil)
	from := attribute(t, transport, dead, types.QueueAttributeNameQueueArn)
	to := attribute(t, transport, address(t, transport), types.QueueAttributeNameQueueArn)
	set := &awssqs.SetQueueAttributesInput{QueueUrl: aws.String(address(t, transport)), Attributes: map[string]string{
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"2"}`, from),
	}}
	if _, err := transport.client.SetQueueAttributes(t.Context(), set); err != nil {
		t.Fatal(err)
	}

	publish(t, transport, `{"n":1}`)
	consume(t, transport, 2, func(queue.Incoming) error { return errors.New("the outcome can't be recorded") })
	ctx, cancel := context.WithCancel(t.Context())
	consumed := make(chan error, 1)
	arrived := make(chan queue.Incoming, 1)
	go func() {
		consumed <- transport.Consume(ctx, "g", 1, func(in queue.Incoming) error { arrived <- in; return nil })
	}()
	testkit.Await(t, patience, "the message is in the dead-letter queue", func() bool {
		return attribute(t, transport, dead, types.QueueAttributeNameApproximateNumberOfMessages) == "1"
	})
	if _, err := transport.client.StartMessageMoveTask(t.Context(), &awssqs.StartMessageMoveTaskInput{SourceArn: &from, DestinationArn: &to}); err != nil {
		t.Fatal(err)
	}
	select {
	case in := <-arrived:
		if string(in.Body) != `{"n":1}` || in.Redelivered {
			t.Errorf("arrived: %s, redelivered=%t", in.Body, in.Redelivered)
		}
	case <-time.After(patience):
		t.Error("the message doesn't arrive")
	}
	cancel()
	if err := <-consumed; err != nil {
		t.Error(err)
	}
}

// testPaused checks that nothing waits longer than its deadline for a server that
// hangs, and that it is used again afterwards.
func testPaused(t *testing.T, server *testkit.ElasticMQServer) {
	transport, _ := prepared(t, server)
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	err := transport.Publish(ctx, "g", queue.Outgoing{Body: []byte(`{}`)})
	cancel()
	server.Continue()
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("during the pause: %v, want the deadline", err)
	}
	publish(t, transport, `{"after":true}`)
	testkit.Await(t, patience, "the message waits", func() bool {
		n, err := transport.Waiting(t.Context(), "g")
		return err == nil && n >= 1 // 2 if the server took the first one
	})
}
