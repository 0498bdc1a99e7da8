package config

import (
	"strings"
	"testing"
)

func TestSettings_queue(t *testing.T) {
	for _, c := range []struct {
		queue, prefix, rabbitmq, kafka, sqs string
		wants                               []string // in the error; none: valid
	}{
		{queue: "postgres"},
		{queue: "sqs"},
		{queue: "rabbitmq", rabbitmq: "amqps://u:p@mq.example/shop"},
		{queue: "kafka", kafka: "a:9092,b:9092"},
		{queue: "sqs", sqs: "http://127.0.0.1:9324"},
		{queue: "redis", wants: []string{"QUEUE: "}},
		{queue: "rabbitmq", wants: []string{"RABBITMQ_URL: must look like amqp://"}},
		{queue: "kafka", wants: []string{"KAFKA_BROKERS: "}},
		{queue: "postgres", prefix: "a b", rabbitmq: "http://u:hunter2@mq", sqs: "ftp://x", wants: []string{"QUEUE_PREFIX: ", "RABBITMQ_URL: ", "SQS_ENDPOINT: "}},
		{queue: "sqs", sqs: "https://u:hunter2@sqs.example", wants: []string{"SQS_ENDPOINT: "}},
	} {
		t.Setenv("RABBITMQ_URL", c.rabbitmq)
		t.Setenv("KAFKA_BROKERS", c.kafka)
		s := settings()
		s.Queue, s.SQSEndpoint = c.queue, c.sqs
		if c.prefix != "" {
			s.QueuePrefix = c.prefix
		}
		cfg, err := s.Config()
		if len(c.wants) == 0 {
			if err != nil || string(cfg.Queue.Transport) != c.queue || cfg.Queue.RabbitMQURL != c.rabbitmq || cfg.Queue.KafkaBrokers != c.kafka {
				t.Errorf("%+v: got %+v, %v", c, cfg, err)
			}
			continue
		}
		for _, want := range c.wants {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%+v: got error %v; want %s", c, err, want)
			}
		}
	}
}
