// Package kafka brings messages to their handlers through Apache Kafka. Each group
// has a topic and a consumer group, both named "<prefix>.<group>". The messages of a
// key are in one partition, and a partition is worked off in order, one message at
// a time.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"ratelimiter/internal/queue"
)

const (
	// dialTimeout bounds connecting to one broker.
	dialTimeout = 3 * time.Second
	// answerTimeout bounds one request, besides the time that it asks the broker to
	// wait. A request is repeated until the deadline of its caller.
	answerTimeout = 5 * time.Second
	// minBackoff and maxBackoff bound the random time between two attempts.
	minBackoff = 200 * time.Millisecond
	maxBackoff = 600 * time.Millisecond
	// metadataAge is the least time between two requests for the partitions'
	// leaders, which a client needs after a broker has died.
	metadataAge = 500 * time.Millisecond
)

// Transport is a queue.Transport.
type Transport struct {
	brokers Brokers
	prefix  string
	log     *slog.Logger
	client  *kgo.Client // publishes and asks; connects when it is first used
	admin   *kadm.Client
	dial    *lastDial
	session time.Duration // sessionTimeout, but in tests
	warned  sync.Map      // what has been logged once
}

var _ queue.Transport = (*Transport)(nil)

// New returns a transport that isn't connected. brokers is as for ParseBrokers.
// Transports with the same prefix share queues.
func New(brokers, prefix string, log *slog.Logger) (*Transport, error) {
	parsed, err := ParseBrokers(brokers)
	if err != nil {
		return nil, err
	}
	t := &Transport{brokers: parsed, prefix: prefix, log: log, dial: &lastDial{}, session: sessionTimeout}
	client, err := t.newClient(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), // messages that come during a request are in the next one
		// A message that isn't confirmed in time is published again by its job. It
		// must not stay in the client as well.
		kgo.AllowIdempotentProduceCancellation(),
	)
	if err != nil {
		return nil, err
	}
	t.client, t.admin = client, kadm.NewClient(client)
	return t, nil
}

// newClient returns a client with further options.
func (t *Transport) newClient(more ...kgo.Opt) (*kgo.Client, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(t.brokers.Addresses...),
		kgo.ClientID("ratelimiter"),
		kgo.DialTimeout(dialTimeout),
		kgo.RequestTimeoutOverhead(answerTimeout),
		kgo.RetryBackoffFn(func(int) time.Duration { return minBackoff + rand.N(maxBackoff-minBackoff) }),
		kgo.MetadataMinAge(metadataAge),
		kgo.DisableClientMetrics(),
		kgo.WithHooks(t.dial),
	}
	if t.brokers.TLS {
		opts = append(opts, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	switch {
	case t.brokers.Plain:
		opts = append(opts, kgo.SASL(plain.Auth{User: t.brokers.User, Pass: t.brokers.Password}.AsMechanism()))
	case t.brokers.User != "":
		opts = append(opts, kgo.SASL(scram.Auth{User: t.brokers.User, Pass: t.brokers.Password}.AsSha512Mechanism()))
	}
	return kgo.NewClient(append(opts, more...)...)
}

// topic returns the name of a group's topic and consumer group.
func (t *Transport) topic(group string) string { return t.prefix + "." + group }

// Publish implements queue.Transport.
func (t *Transport) Publish(ctx context.Context, group string, m queue.Outgoing) error {
	record := &kgo.Record{Topic: t.topic(group), Value: m.Body, Headers: []kgo.RecordHeader{{Key: "message", Value: []byte(m.ID)}}}
	if m.Key != "" { // without one, any partition
		record.Key = []byte(m.Key)
	}
	confirmed := make(chan error, 1)
	t.client.Produce(ctx, record, func(_ *kgo.Record, err error) { confirmed <- err })
	select {
	case err := <-confirmed:
		if errors.Is(err, kerr.UnknownTopicID) { // it was deleted, and maybe created again: the client must look
			t.client.PurgeTopicsFromProducing(record.Topic)
		}
		return t.explain(err)
	case <-ctx.Done(): // the client drops the record when its connection answers or is given up
		return t.explain(ctx.Err())
	}
}

// Waiting implements queue.Transport. Messages that are being delivered wait, too.
func (t *Transport) Waiting(ctx context.Context, group string) (int64, error) {
	topic := t.topic(group)
	committed, err := t.admin.FetchOffsetsForTopics(ctx, topic, topic)
	if err != nil {
		return 0, t.explain(err)
	}
	starts, err := t.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, t.explain(err)
	}
	ends, err := t.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	var waiting int64
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(topic, end.Partition)
		next := start.Offset
		if c, ok := committed.Lookup(topic, end.Partition); ok {
			next = max(next, c.At)
		}
		waiting += max(0, end.Offset-next)
	})
	return waiting, t.explain(err)
}

// Close implements queue.Transport.
func (t *Transport) Close() { t.client.Close() }
