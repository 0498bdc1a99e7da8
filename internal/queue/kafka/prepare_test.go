package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// testNewTopic: a topic that is created keeps messages long enough, also if the
// broker's defaults are shorter.
func (f *fixture) testNewTopic(t *testing.T) {
	transport := f.transport(t)
	prepare(t, transport) // again
	admin := f.admin(t)
	topics, err := admin.ListTopics(t.Context(), transport.topic(group))
	if err != nil || len(topics[transport.topic(group)].Partitions) != partitions {
		t.Errorf("got %+v, %v, want %d partitions", topics, err, partitions)
	}
	configs, err := admin.DescribeTopicConfigs(t.Context(), transport.topic(group))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"}
	for _, config := range configs[0].Configs {
		if value, ok := want[config.Key]; ok && (config.MaybeValue() != value || config.Source != kmsgDynamicTopic) {
			t.Errorf("%s is %q", config.Key, config.MaybeValue())
		}
	}
}

// testExistingTopic: a topic that loses messages is refused, and one that is merely
// not as recommended is warned of, once.
func (f *fixture) testExistingTopic(t *testing.T) {
	admin := f.admin(t)
	transport, err := newTransport(f.address, prefixOf(t))
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	var log records
	transport.log = slog.New(slog.NewTextHandler(&log, nil))
	create := func(group, key, value string) {
		t.Helper()
		if _, err := admin.CreateTopic(t.Context(), 2, 1, map[string]*string{key: new(value)}, transport.topic(group)); err != nil {
			t.Fatal(err)
		}
	}
	create("compact", "cleanup.policy", "compact,delete")
	create("short", "retention.ms", "60000")
	if err := transport.Prepare(t.Context(), []string{"compact"}); !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "cleanup.policy=delete") {
		t.Errorf("compacted: got %v", err)
	}
	for range 2 {
		if err := transport.Prepare(t.Context(), []string{"short"}); err != nil {
			t.Error(err)
		}
	}
	for _, warning := range []string{"short has 2 partitions", "short has retention.ms=60000"} {
		if n := strings.Count(log.String(), warning); n != 1 {
			t.Errorf("warned %d times of %q:\n%s", n, warning, log.String())
		}
	}
	if err := transport.Prepare(t.Context(), []string{"not a name"}); !errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("invalid name: got %v", err)
	}
}

// TestTransport_no_coordinator: a broker that can't create the topic of the positions
// is the usual trap of a single one.
func TestTransport_no_coordinator(t *testing.T) {
	transport, err := newTransport(testkit.Kafka(t, "offsets.topic.replication.factor=3").Address(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := transport.Prepare(ctx, []string{group}); err == nil || !strings.Contains(err.Error(), "offsets.topic.replication.factor=1") {
		t.Errorf("got %v", err)
	}
}

// A broker that hangs is named as the cause.
func TestTransport_hanging_broker(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // it accepts connections by itself, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	transport, err := newTransport(listener.Addr().String(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := transport.Prepare(ctx, []string{group}); err == nil || errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "no answer from the brokers") {
		t.Errorf("got %v", err)
	}
}
