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
