package kafka

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/queuetest"
	"ratelimiter/internal/testkit"
)

func TestMain(m *testing.M) { queuetest.Main(m, queuetest.BrokerWorker(open)) }

// patience bounds waiting for what must happen.
const patience = time.Minute

// open returns a transport for a test.
func open(address, prefix string) (queue.Transport, error) { return newTransport(address, prefix) }

// newTransport returns a transport whose consumers are given up soon after their
// death.
func newTransport(address, prefix string) (*Transport, error) {
	t, err := New(address, prefix, slog.New(slog.DiscardHandler))
	if err == nil {
		t.session = 1500 * time.Millisecond
	}
	return t, err
}

// minSession lets a broker accept the session time-out of newTransport.
const minSession = "group.min.session.timeout.ms=500"

// newBroker starts a server. Settings are further lines of its configuration.
func newBroker(t *testing.T, settings ...string) *queuetest.Broker {
	t.Helper()
	server := testkit.Kafka(t, append(settings, minSession)...)
	send := func(t testing.TB, prefix, group string, body []byte) {
		t.Helper()
		produce(t, newClient(t, server.Address()), &kgo.Record{Topic: prefix + "." + group, Value: body})
	}
	return &queuetest.Broker{Address: server.Address(), Open: open, Send: send, Server: server, Ordered: true}
}

// newClient returns a client as other programs have it.
func newClient(t testing.TB, address string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(address), kgo.DisableClientMetrics(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// produce sends records to the partitions that they name.
func produce(t testing.TB, client *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// TestTransport runs everything that needs a server, one after another on the same.
func TestTransport(t *testing.T) {
	secure := newSecurity(t)
	b := newBroker(t, secure.settings()...)
	f := &fixture{address: b.Address, server: b.Server, secure: secure}
	t.Run("conformance", func(t *testing.T) { queuetest.Run(t, b) })
	t.Run("failed message is redelivered", f.testRedelivered)
	t.Run("slow message delays its partition only", f.testSlow)
	t.Run("parallel is a bound", f.testParallel)
	t.Run("partition is given up after its message", f.testRevoked)
	t.Run("deleted messages are skipped", f.testDeleted)
	t.Run("deleted topic is created again", f.testDeletedTopic)
	t.Run("publish ends at its deadline", f.testHangingPublish)
	t.Run("consume ends with the connection", f.testLostConnection)
	t.Run("waiting", f.testWaiting)
	t.Run("new topic", f.testNewTopic)
	t.Run("existing topic", f.testExistingTopic)
	t.Run("permissions", f.testPermissions)
	t.Run("security", f.testSecurity)
	t.Run("replay", f.testReplay)
}

// TestProof kills publishers, workers, Postgres and Kafka under load.
func TestProof(t *testing.T) { queuetest.Prove(t, newBroker(t)) }

// fixture is a server for several tests.
type fixture struct {
	address string
	server  queuetest.Server
	secure  *security
}

// group is the group of the tests.
const group = "stock"

// prefixOf returns a prefix that belongs to a test.
func prefixOf(t *testing.T) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '-'
		}
		return r
	}, t.Name())
}

// transport returns a transport with queues of the test. At the end it is closed, and
// no goroutine may be left.
func (f *fixture) transport(t *testing.T) *Transport {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	transport, err := newTransport(f.address, prefixOf(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.Close)
	prepare(t, transport)
	return transport
}

func prepare(t *testing.T, transport *Transport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := transport.Prepare(ctx, []string{group}); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) admin(t *testing.T) *kadm.Client { return kadm.NewClient(newClient(t, f.address)) }

// delivery is what receive was called with.
type delivery struct {
	body        string
	redelivered bool
}

// consumption is a running Consume.
type consumption struct {
	*testing.T
	cancel     context.CancelFunc
	deliveries chan delivery
	result     chan error
}

// consume begins to consume. The deliveries are taken by next; outcome returns those of
// receive, nil: none fails.
func consume(t *testing.T, transport *Transport, outcome func(body string) error) *consumption {
	ctx, cancel := context.WithCancel(t.Context())
	c := &consumption{t, cancel, make(chan delivery, 10_000), make(chan error, 1)}
	go func() {
		c.result <- transport.Consume(ctx, group, 20, func(in queue.Incoming) error {
			c.deliveries <- delivery{string(in.Body), in.Redelivered}
			if outcome == nil {
				return nil
			}
			return outcome(string(in.Body))
		})
	}()
	return c
}

// expect awaits the next deliveries.
func (c *consumption) expect(want ...delivery) {
	c.Helper()
	for _, w := range want {
		select {
		case got := <-c.deliveries:
			if got != w {
				c.Errorf("got %+v, want %+v", got, w)
			}
		case err := <-c.result:
			c.Fatalf("Consume ended: %v", err)
		case <-time.After(patience):
			c.Fatalf("%+v wasn't delivered", w)
		}
	}
}

// stop ends the consumption.
func (c *consumption) stop() {
	c.Helper()
	c.cancel()
	if err := <-c.result; err != nil {
		c.Error(err)
	}
}

// publish publishes messages of one key.
func publish(t *testing.T, transport *Transport, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		if err := transport.Publish(t.Context(), group, queue.Outgoing{ID: body, Key: "k", Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
}

// records collects log records.
type records struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// write writes a file for the test.
func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
