package rabbitmq_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/queuetest"
	"ratelimiter/internal/queue/rabbitmq"
	"ratelimiter/internal/testkit"
)

func TestMain(m *testing.M) { queuetest.Main(m, queuetest.BrokerWorker(open)) }

func open(url, prefix string) (queue.Transport, error) { return rabbitmq.New(url, prefix) }

// testSuite is what holds with every transport, and its proof.
func testSuite(t *testing.T, server *testkit.RabbitServer) {
	b := &queuetest.Broker{
		Address: server.URL(),
		Open:    open,
		Send: func(t testing.TB, prefix, group string, body []byte) {
			send(t, server.URL(), prefix+"."+group, body)
		},
		Server:  server,
		Settled: func(testing.TB) { server.Sync() },
	}
	queuetest.Run(t, b)
	queuetest.Prove(t, b)
}

// send puts a body into a queue as any other program could.
func send(t testing.TB, url, name string, body []byte) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := channel.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirmation, err := channel.PublishWithDeferredConfirm("", name, true, false, amqp.Publishing{Body: body})
	if err != nil || !confirmation.Wait() {
		t.Fatal("not confirmed", err)
	}
}
