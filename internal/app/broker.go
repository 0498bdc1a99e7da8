package app

import (
	"context"
	"log/slog"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/config"
	"ratelimiter/internal/orders"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/kafka"
	"ratelimiter/internal/queue/rabbitmq"
	"ratelimiter/internal/queue/sqs"
	"ratelimiter/models"
)

// NewTransport returns the transport that QUEUE asks for, which isn't connected; nil:
// messages stay in Postgres.
func NewTransport(ctx context.Context, cfg *config.Config, log *slog.Logger) (queue.Transport, error) {
	q := cfg.Queue
	switch q.Transport {
	case config.QueueRabbitMQ:
		return rabbitmq.New(q.RabbitMQURL, q.Prefix)
	case config.QueueKafka:
		return kafka.New(q.KafkaBrokers, q.Prefix, log)
	case config.QueueSQS:
		return sqs.New(ctx, q.SQSEndpoint, q.Prefix, log)
	case config.QueuePostgres:
	}
	return nil, nil //nolint:nilnil // there is none
}

// CheckBroker prepares the queues of a broker as serve does, and reports whether
// there is one. Errors: those of queue.Transport.Prepare.
func CheckBroker(ctx context.Context, cfg *config.Config) (exists bool, err error) {
	transport, err := NewTransport(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil || transport == nil {
		return err != nil, err
	}
	defer transport.Close()
	return true, transport.Prepare(ctx, orders.Routes.Groups())
}

// whileOutboxHasRoom is an OrderService that places no orders while too many messages
// wait for the broker, or too long.
type whileOutboxHasRoom struct {
	handlers.OrderService

	full func() bool
}

// errOutboxFull is the error of an order whose messages would wait too long.
var errOutboxFull = &models.Error{
	Kind: models.KindUnavailable, Code: "queue_full", RetryAfter: time.Minute,
	Message: "Orders are not accepted: too many messages wait for the message broker, or they wait too long.",
}

// Create implements handlers.OrderService.
func (s whileOutboxHasRoom) Create(ctx context.Context, order models.NewOrder) (models.Order, bool, error) {
	if s.full() {
		return models.Order{}, false, errOutboxFull
	}
	return s.OrderService.Create(ctx, order)
}
