package e2e

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"ratelimiter/internal/config"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// transports are the values of QUEUE. option starts the real server and makes an app
// use it.
var transports = []struct {
	name   config.Transport
	option func(*testing.T) appOption
}{
	{config.QueuePostgres, func(*testing.T) appOption { return func(*appOptions) {} }},
	{config.QueueRabbitMQ, func(t *testing.T) appOption {
		server := testkit.RabbitMQ(t)
		return withBroker(config.Queue{Transport: config.QueueRabbitMQ, RabbitMQURL: server.URL()})
	}},
	{config.QueueKafka, func(t *testing.T) appOption {
		server := testkit.Kafka(t)
		return withBroker(config.Queue{Transport: config.QueueKafka, KafkaBrokers: server.Addr()})
	}},
	{config.QueueSQS, func(t *testing.T) appOption {
		server := testkit.ElasticMQ(t)
		for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"} {
			t.Setenv(name, value)
		}
		return withBroker(config.Queue{Transport: config.QueueSQS, SQSEndpoint: server.URL()})
	}},
}

func withBroker(q config.Queue) appOption {
	return func(o *appOptions) {
		q.Prefix = "test-" + strings.ToLower(rand.Text()[:10])
		o.config.Queue = q
	}
}

// unreachable is a broker that nothing listens for.
func unreachable() appOption {
	return withBroker(config.Queue{Transport: config.QueueRabbitMQ, RabbitMQURL: "amqp://u:hunter2@127.0.0.1:1/"})
}

// Without the broker orders are accepted and wait; operators are told.
func TestBroker_down(t *testing.T) {
	s := newOrderShop(t, unreachable())
	order := s.place("tok_ok")
	s.await("the outbox is counted", func() bool { return s.metric("ratelimiter_queue_outbox_messages") == "2" })
	if up := s.metric("ratelimiter_queue_broker_up"); up != "0" {
		t.Errorf("got broker_up %s", up)
	}
	ready := testkit.NewClient(t, s.server.URL).Get("/readyz").Want(http.StatusOK)
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
	s.exec(`UPDATE river_job SET scheduled_at = now() - interval '2 hours', state = 'available' WHERE kind = 'delivery'`)
	body := `{"items":[{"product_id":"` + cups + `","quantity":1}],"email":"a@example.com","payment_token":"tok_ok"}`
	s.await("orders are refused", func() bool {
		s.exec(`UPDATE river_job SET scheduled_at = now() - interval '2 hours', state = 'available' WHERE kind = 'delivery' AND state <> 'running'`)
		return s.caller.Post("/v1/orders", body).Status != http.StatusCreated
	})
	r := s.caller.Post("/v1/orders", body).Want(http.StatusServiceUnavailable)
	if !strings.Contains(string(r.Body), `"code":"queue_full"`) || r.Header.Get("Retry-After") == "" {
		t.Errorf("got %s with %v", r.Body, r.Header)
	}
	s.caller.Get("/v1/orders").Want(http.StatusOK)
}
