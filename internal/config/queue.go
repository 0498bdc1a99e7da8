package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"

	amqp "github.com/rabbitmq/amqp091-go"

	"ratelimiter/internal/queue/kafka"
)

// Transport is a value of QUEUE: what brings messages to the workers.
type Transport string

// The transports of messages.
const (
	QueuePostgres Transport = "postgres"
	QueueRabbitMQ Transport = "rabbitmq"
	QueueKafka    Transport = "kafka"
	QueueSQS      Transport = "sqs"
)

// Queue are the settings of the message queue.
type Queue struct {
	Transport    Transport
	Prefix       string // of the names in a broker
	RabbitMQURL  string
	KafkaBrokers string // as kafka.ParseBrokers takes it
	SQSEndpoint  string // empty: that of the region
}

// prefixPattern is what every broker allows in names, short enough for all of them.
var prefixPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,39}$`)

// queue validates the settings of the message queue. Those of another transport than
// the chosen one are validated too.
func (s *Settings) queue(cfg *Config, fault func(name string, err error)) {
	q := &cfg.Queue
	q.Transport, q.Prefix, q.SQSEndpoint = Transport(s.Queue), s.QueuePrefix, s.SQSEndpoint
	switch q.Transport {
	case QueuePostgres, QueueRabbitMQ, QueueKafka, QueueSQS:
	default:
		fault("QUEUE", fmt.Errorf("%q must be postgres, rabbitmq, kafka or sqs", s.Queue))
	}
	if !prefixPattern.MatchString(q.Prefix) {
		fault("QUEUE_PREFIX", fmt.Errorf("%q must be 1 to 40 letters, digits, - and _, and begin with a letter or digit", q.Prefix))
	}
	var err error
	q.RabbitMQURL, err = readSecret("RABBITMQ_URL", s.RabbitMQFile)
	fault("RABBITMQ_URL", cmp.Or(err, checkRabbitMQURL(q.RabbitMQURL, q.Transport == QueueRabbitMQ)))
	q.KafkaBrokers, err = readSecret("KAFKA_BROKERS", s.KafkaFile)
	fault("KAFKA_BROKERS", cmp.Or(err, checkKafkaBrokers(q.KafkaBrokers, q.Transport == QueueKafka)))
	fault("SQS_ENDPOINT", checkSQSEndpoint(q.SQSEndpoint))
}

// checkRabbitMQURL doesn't repeat the URL, because it contains a password.
func checkRabbitMQURL(text string, needed bool) error {
	if text == "" && !needed {
		return nil
	}
	if _, err := amqp.ParseURI(text); err != nil {
		return errors.New("must look like amqp://user:password@host:5672/vhost, with amqps for TLS")
	}
	return nil
}

func checkKafkaBrokers(text string, needed bool) error {
	if text == "" && !needed {
		return nil
	}
	_, err := kafka.ParseBrokers(text)
	return err
}

func checkSQSEndpoint(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return errors.New("must look like https://sqs.eu-central-1.amazonaws.com, or http://127.0.0.1:9324 for a local server")
	}
	return nil
}
