package sqs

import (
	"log/slog"
	"testing"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"ratelimiter/internal/queue/queuetest"
	"ratelimiter/internal/testkit"
)

// broker is an ElasticMQ for the suite.
func broker(t *testing.T) *queuetest.Broker {
	t.Helper()
	server := testkit.ElasticMQ(t)
	send := func(t testing.TB, prefix, group string, body []byte) {
		t.Helper()
		transport, err := New(t.Context(), server.Endpoint(), prefix, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer transport.Close()
		address, err := transport.find(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		text := string(body)
		if _, err := transport.client.SendMessage(t.Context(), &awssqs.SendMessageInput{QueueUrl: &address, MessageBody: &text}); err != nil {
			t.Fatal(err)
		}
	}
	settled := func(testing.TB) { server.Settle() }
	return &queuetest.Broker{Address: server.Endpoint(), Open: open, Send: send, Server: server, Settled: settled, TextOnly: true, EmptyRefused: true}
}

func TestTransport_conformance(t *testing.T) { queuetest.Run(t, broker(t)) }

// TestProof kills publishers, workers, Postgres and the server under load.
func TestProof(t *testing.T) { queuetest.Prove(t, broker(t)) }
