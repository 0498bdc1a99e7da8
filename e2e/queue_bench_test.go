package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/app"
	"ratelimiter/internal/config"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/queuetest"
	"ratelimiter/internal/testkit"
)

const (
	benchMessages = 2000             // of a rate
	benchPace     = 50               // messages a second of a latency
	benchTime     = 20 * time.Second // of a latency
	benchOutage   = 10 * time.Second // of the broker
)

// transportBench measures one transport, on a Postgres with fsync.
type transportBench struct {
	*testing.B
	name     config.Transport
	settings config.Queue
	server   queuetest.Server
	db       *pgxpool.Pool
}

// BenchmarkTransports compares the transports in one run: messages confirmed and
// processed per second, the time from commit to handler, and what an outage of the
// broker costs. It prints a table in Markdown.
func BenchmarkTransports(b *testing.B) {
	cluster := testkit.NewDurableCluster(b)
	db, err := testkit.OpenAddressFile(cluster.AddressFile)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var list []*transportBench
	for _, t := range transports {
		settings, server := t.start(b)
		list = append(list, &transportBench{b, t.name, settings, server, db})
	}
	rows := make([][]string, len(list))
	for i, t := range list {
		rows[i] = []string{string(t.name)}
	}
	// One measure after the other over all transports, so that other load on the
	// machine affects all of them.
	for _, measure := range []func(*transportBench) []string{
		(*transportBench).confirmed, (*transportBench).processed, (*transportBench).latency, (*transportBench).outage,
	} {
		for i, t := range list {
			rows[i] = append(rows[i], measure(t)...)
		}
	}
	table := []string{"| `QUEUE` | confirmed/s | processed/s | p50 | p99 | worked off after an outage of 10 s | longest wait |", "|---|---|---|---|---|---|---|"}
	for _, row := range rows {
		table = append(table, "| "+strings.Join(row, " | ")+" |")
	}
	b.Log("\n" + strings.Join(table, "\n"))
}

// queue returns an empty queue and how a worker of it is configured.
func (t *transportBench) queue() (*queue.Queue, queue.Config) {
	t.Helper()
	if _, err := t.db.Exec(t.Context(), `TRUNCATE river_job, queue_inbox, dead_letters`); err != nil {
		t.Fatal(err)
	}
	q, err := queue.New(t.db, queue.Routes{"placed": {"stock"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	settings := t.settings
	settings.Prefix = newQueuePrefix()
	transport, err := app.NewTransport(t.Context(), &config.Config{Queue: settings}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return q, queue.Config{Transport: transport}
}

// start starts a worker, and returns how it is stopped.
func (t *transportBench) start(q *queue.Queue, cfg queue.Config, handler queue.Handler) (stop func()) {
	t.Helper()
	w, err := queue.NewWorker(q, queue.Handlers{"stock": {"placed": handler}}, cfg)
	if err == nil {
		err = w.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := w.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// publish publishes one message.
func (t *transportBench) publish(q *queue.Queue) {
	m := &queue.Message{Topic: "placed", Key: newQueuePrefix(), Payload: json.RawMessage(`{"order_id":"ord_0123456789abcdef"}`)}
	if err := postgres.InTx(context.Background(), t.db, func(tx pgx.Tx) error { return q.Publish(context.Background(), tx, m) }); err != nil {
		t.Error(err)
	}
}

// perSecond formats a rate.
func perSecond(n int, took time.Duration) string {
	return fmt.Sprintf("%.0f", float64(n)/took.Seconds())
}

// confirmed measures how many messages a second are safe: in the broker, or committed
// in Postgres, by 50 publishers.
func (t *transportBench) confirmed() []string {
	q, cfg := t.queue()
	send := func() { t.publish(q) }
	if cfg.Transport != nil {
		defer cfg.Transport.Close()
		if err := cfg.Transport.Prepare(t.Context(), []string{"stock"}); err != nil {
			t.Fatal(err)
		}
		body := []byte(`{"id":"msg_0123456789abcdef0123456789","topic":"placed","key":"ord_0123456789abcdef","payload":{"order_id":"ord_0123456789abcdef"},"published_at":"2026-01-01T00:00:00Z","attempt":0}`)
		send = func() {
			key := newQueuePrefix()
			if err := cfg.Transport.Publish(t.Context(), "stock", queue.Outgoing{ID: key, Key: key, Body: body}); err != nil {
				t.Error(err)
			}
		}
	}
	var left atomic.Int64
	left.Store(benchMessages)
	began := time.Now()
	var publishers sync.WaitGroup
	for range 50 {
		publishers.Go(func() {
			for left.Add(-1) >= 0 {
				send()
			}
		})
	}
	publishers.Wait()
	return []string{perSecond(benchMessages, time.Since(began))}
}

// processed measures how many messages a second go from Postgres, by the transport, to
// an effect in Postgres, with one worker of 10 handlers.
func (t *transportBench) processed() []string {
	q, cfg := t.queue()
	var publishers sync.WaitGroup
	for range 10 {
		publishers.Go(func() {
			for range benchMessages / 10 {
				t.publish(q)
			}
		})
	}
	publishers.Wait()
	var done atomic.Int64
	all := make(chan struct{})
	stop := t.start(q, cfg, func(context.Context, *queue.Message) (queue.Effect, error) {
		if done.Add(1) == benchMessages {
			close(all)
		}
		return nil, nil
	})
	defer stop()
	began := time.Now()
	<-all
	return []string{perSecond(benchMessages, time.Since(began))}
}

// waits are the times from commit to handler.
type waits struct {
	mu   sync.Mutex
	list []time.Duration
}

func (w *waits) handler(_ context.Context, m *queue.Message) (queue.Effect, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, time.Since(m.PublishedAt))
	return nil, nil
}

func (w *waits) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.list)
}

// quantile returns one of the times, in milliseconds.
func (w *waits) quantile(q float64) string {
	slices.Sort(w.list)
	return fmt.Sprintf("%.0f ms", float64(w.list[int(q*float64(len(w.list)-1))].Microseconds())/1000)
}

// pace publishes benchPace messages a second for a time.
func (t *transportBench) pace(q *queue.Queue, d time.Duration) (n int) {
	var publishers sync.WaitGroup
	ticker := time.NewTicker(time.Second / benchPace)
	defer ticker.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		<-ticker.C
		publishers.Go(func() { t.publish(q) })
	}
	publishers.Wait()
	return n
}

// latency measures the time from commit to handler at a steady pace.
func (t *transportBench) latency() []string {
	q, cfg := t.queue()
	var warm, w waits
	handler := warm.handler
	var mu sync.Mutex
	stop := t.start(q, cfg, func(ctx context.Context, m *queue.Message) (queue.Effect, error) {
		mu.Lock()
		h := handler
		mu.Unlock()
		return h(ctx, m)
	})
	defer stop()
	for n := t.pace(q, time.Second); warm.len() < n; {
		time.Sleep(10 * time.Millisecond)
	}
	mu.Lock()
	handler = w.handler
	mu.Unlock()
	for n := t.pace(q, benchTime); w.len() < n; {
		time.Sleep(10 * time.Millisecond)
	}
	return []string{w.quantile(0.5), w.quantile(0.99)}
}

// outage measures how long after an outage of the broker the messages that waited are
// worked off, and the longest wait of any.
func (t *transportBench) outage() []string {
	if t.server == nil {
		return []string{"–", "–"}
	}
	q, cfg := t.queue()
	var w waits
	stop := t.start(q, cfg, w.handler)
	defer stop()
	n := t.pace(q, 5*time.Second) // RabbitMQ writes a new queue's name within seconds
	t.server.Kill()
	n += t.pace(q, benchOutage)
	t.server.Start()
	began := time.Now()
	for w.len() < n {
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(began)
	return []string{fmt.Sprintf("%.1f s", took.Seconds()), w.quantile(1)}
}
