package rabbitmq

import (
	"errors"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"ratelimiter/internal/queue"
)

func TestSupported(t *testing.T) {
	for _, test := range []struct {
		product, version string
		want             bool
	}{
		{"RabbitMQ", "3.10.8", true},
		{"RabbitMQ", "3.13.0-rc.1", true},
		{"RabbitMQ", "4.0.1", true},
		{"RabbitMQ", "3.9.29", false},
		{"RabbitMQ", "3.7.28", false},
		{"RabbitMQ", "", false},
		{"LavinMQ", "4.0.0", false},
		{"", "", false},
	} {
		err := supported(amqp.Table{"product": test.product, "version": test.version})
		if (err == nil) != test.want || err != nil && (!errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "RabbitMQ 3.10 or newer")) {
			t.Errorf("%s %s: %v", test.product, test.version, err)
		}
	}
}

// A broker that stops during a login isn't set up wrongly: serve starts without it.
func TestTransport_explain_lost_login(t *testing.T) {
	t.Parallel()
	transport, err := New("amqp://guest:guest@127.0.0.1:1", "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.explain(amqp.ErrVhost); errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("got %v", err)
	}
	if err := transport.explain(amqp.ErrCredentials); !errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("got %v", err)
	}
}
