package e2e

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"ratelimiter/internal/config"
	"ratelimiter/internal/queue/queuetest"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// transports are the values of QUEUE. start starts the real server, if there is one,
// and returns the settings for it.
var transports = []struct {
	name  config.Transport
	start func(testing.TB) (config.Queue, queuetest.Server)
}{
	{config.QueuePostgres, func(testing.TB) (config.Queue, queuetest.Server) { return config.Queue{}, nil }},
	{config.QueueRabbitMQ, func(t testing.TB) (config.Queue, queuetest.Server) {
		server := testkit.RabbitMQ(t)
		return config.Queue{Transport: config.QueueRabbitMQ, RabbitMQURL: server.URL()}, server
	}},
	{config.QueueKafka, func(t testing.TB) (config.Queue, queuetest.Server) {
		server := testkit.Kafka(t)
		return config.Queue{Transport: config.QueueKafka, KafkaBrokers: server.Address()}, server
	}},
	{config.QueueSQS, func(t testing.TB) (config.Queue, queuetest.Server) {
		server := testkit.ElasticMQ(t)
		for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"} {
			t.Setenv(name, value)
		}
		return config.Queue{Transport: config.QueueSQS, SQSEndpoint: server.Endpoint()}, server
	}},
}

// withBroker makes an app use a broker, with queues of its own.
func withBroker(q config.Queue) appOption {
	q.Prefix = newQueuePrefix()
	return func(o *appOptions) { o.config.Queue = q }
}

func newQueuePrefix() string { return "test-" + strings.ToLower(rand.Text()[:10]) }

// unreachable is a broker that nothing listens for.
func unreachable() appOption {
	return withBroker(config.Queue{Transport: config.QueueRabbitMQ, RabbitMQURL: "amqp://u:hunter2@127.0.0.1:1/"})
}

// Without the broker orders are accepted and wait; operators see it.
func TestBroker_down(t *testing.T) {
	s := newOrderShop(t, unreachable())
	order := s.place("tok_ok")
	s.await("the outbox is counted", func() bool { return s.metric("ratelimiter_queue_outbox_messages") == "2" })
	if up := s.metric("ratelimiter_queue_broker_up"); up != "0" {
		t.Errorf("got broker_up %s", up)
	}
	ready := s.Get("/readyz").Want(http.StatusOK)
	if body := string(ready.Body); !strings.Contains(body, `"status":"ok"`) || !strings.Contains(body, "broker can't be used") {
		t.Errorf("got /readyz %s", body)
	}
	if got := s.order(order.ID).Status; got != models.OrderPending {
		t.Errorf("got a %s order", got)
	}
	if log := s.log.String(); !strings.Contains(log, "queue: the broker can't be used; messages wait in Postgres") || strings.Contains(log, "hunter2") {
		t.Errorf("got log %s", log)
	}
}

// The outbox has a bound, above which orders are refused.
func TestBroker_outbox_full(t *testing.T) {
	s := newOrderShop(t, unreachable())
	s.place("tok_ok")
	body := `{"items":[{"product_id":"` + cups + `","quantity":1}],"email":"a@example.com","payment_token":"tok_ok"}`
	s.await("orders are refused", func() bool {
		s.exec(`UPDATE river_job SET created_at = now() - interval '2 hours' WHERE id IN (SELECT id FROM river_job WHERE kind = 'delivery' FOR UPDATE SKIP LOCKED)`)
		return s.caller.Post("/v1/orders", body).Status != http.StatusCreated
	})
	r := s.caller.Post("/v1/orders", body).Want(http.StatusServiceUnavailable)
	if !strings.Contains(string(r.Body), `"code":"queue_full"`) || r.Header.Get("Retry-After") == "" {
		t.Errorf("got %s with %v", r.Body, r.Header)
	}
	s.caller.Get("/v1/orders").Want(http.StatusOK)
}

// Doctor warns about a broker that is down, and fails for one that is set up wrongly, as
// serve does. No message contains a password (doctor checks that).
func TestDoctor_broker(t *testing.T) {
	t.Parallel()
	const pepper = "KEY_PEPPER=" + testPepper
	if got := doctor(t, 0, pepper).result("broker"); got != "" {
		t.Errorf("without a broker: got %s", got)
	}
	for found, env := range map[string][]string{
		"rabbitmq: dial tcp 127.0.0.1:1": {"QUEUE=rabbitmq", "RABBITMQ_URL=amqp://u:hunter2@127.0.0.1:1/"},
		"kafka: unable to dial":          {"QUEUE=kafka", "KAFKA_BROKERS=tls://u:hunter2@127.0.0.1:1"},
		"sqs: operation error SQS":       {"QUEUE=sqs", "SQS_ENDPOINT=http://127.0.0.1:1", "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=u", "AWS_SECRET_ACCESS_KEY=hunter2"},
	} {
		doctor(t, 0, append(env, pepper)...).wants(t, map[string]string{"broker": "warning: " + found})
	}
	doctor(t, 1, pepper, "QUEUE=sqs", "AWS_REGION=", "AWS_CONFIG_FILE=/dev/null").
		wants(t, map[string]string{"broker": "failure: sqs: the broker is not set up as needed: no AWS region: set AWS_REGION"})
}
