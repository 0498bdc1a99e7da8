package kafka

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/queuetest"
	"ratelimiter/internal/testkit"
)

func TestMain(m *testing.M) { queuetest.Main(m, queuetest.BrokerWorker(open)) }

// settings make the broker forget dead consumers within a second or two.
const settings = "group.min.session.timeout.ms=500"

// open returns a transport for a test.
func open(address, prefix string) (queue.Transport, error) { return newTransport(address, prefix) }

func newTransport(address, prefix string) (*Transport, error) {
	brokers, err := ParseBrokers(address)
	if err != nil {
		return nil, err
	}
	t, err := New(brokers, prefix, slog.New(slog.DiscardHandler))
	if err == nil {
		t.session = 1500 * time.Millisecond
	}
	return t, err
}

// newBroker starts a server.
func newBroker(t *testing.T) *queuetest.Broker {
	t.Helper()
	server := testkit.Kafka(t, settings)
	send := func(t testing.TB, prefix, group string, body []byte) {
		t.Helper()
		client := newClient(t, server.Address())
		record := &kgo.Record{Topic: prefix + "." + group, Value: body}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return &queuetest.Broker{Address: server.Address(), Open: open, Send: send, Server: server, Ordered: true}
}

// newClient returns a client as other programs have it.
func newClient(t testing.TB, address string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(strings.Split(address, ",")...), kgo.DisableClientMetrics())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestTransport(t *testing.T) {
	b := newBroker(t)
	t.Run("conformance", func(t *testing.T) { queuetest.Run(t, b) })
}
