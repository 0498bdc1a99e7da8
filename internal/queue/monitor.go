package queue

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// monitorInterval is how often a Monitor reads the numbers. With a million
	// delayed messages that takes a fraction of a second.
	monitorInterval = 15 * time.Second
	// monitorTimeout bounds one read.
	monitorTimeout = 5 * time.Second
	// monitorLimit is the age at which numbers are no longer reported.
	monitorLimit = time.Minute
)

// Bounds of the outbox: the messages of a group that wait in Postgres for a broker. A
// broker that is down for longer needs an operator, and callers should know.
const (
	maxOutbox    = 100_000
	maxOutboxAge = time.Hour
)

// OutboxFull reports whether a group of the last known numbers has too many messages
// that wait for a broker, or one that waits too long. Groups that are paused wait on
// purpose. Without a broker nothing waits for it.
func (m *Monitor) OutboxFull() bool {
	return m.hasBroker() && slices.ContainsFunc(m.Stats(), func(s GroupStats) bool {
		return !s.Paused && (s.Ready > maxOutbox || s.OldestAge > maxOutboxAge)
	})
}

// Outbox returns how many messages wait in Postgres for a broker, or are being handed
// to it, as last known.
func (m *Monitor) Outbox() (n int64) {
	if m.hasBroker() {
		for _, s := range m.Stats() {
			n += s.Ready + s.InFlight
		}
	}
	return n
}

// Monitor keeps the last known numbers of the groups, for metrics, and warns when
// dead letters grow. It is a component of the server, safe for concurrent use.
type Monitor struct {
	read      func(context.Context) ([]GroupStats, error)
	hasBroker func() bool
	log       *slog.Logger

	mu    sync.Mutex
	stats []GroupStats
	at    time.Time // when stats were read

	dead    map[string]int64 // dead letters at the last read, by group; nil: never read
	growing map[string]bool  // groups whose dead letters grew at the last read

	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// NewMonitor returns a Monitor of q that isn't started.
func NewMonitor(q *Queue, log *slog.Logger) *Monitor {
	return &Monitor{read: q.Stats, hasBroker: func() bool { return q.transport != nil }, log: log}
}

// Name returns "queue monitor".
func (*Monitor) Name() string { return "queue monitor" }

// Start begins to read the numbers.
func (m *Monitor) Start(ctx context.Context) error {
	ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	m.ended.Go(func() { m.run(ctx) })
	return nil
}

// Stop ends it.
func (m *Monitor) Stop(context.Context) error {
	m.cancel()
	m.ended.Wait()
	return nil
}

// Stats returns the numbers of the groups; none if they are too old, because
// Postgres is down.
func (m *Monitor) Stats() []GroupStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.at) > monitorLimit {
		return nil
	}
	return m.stats
}

func (m *Monitor) run(ctx context.Context) {
	ticker := time.NewTicker(monitorInterval)
	defer ticker.Stop()
	for {
		m.refresh(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// refresh reads the numbers. A failure is logged by those that need the queue.
func (m *Monitor) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	stats, err := m.read(ctx)
	if err != nil {
		m.log.Debug("queue: reading the numbers of the groups failed", slog.String("error", err.Error()))
		return
	}
	m.warn(stats)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats, m.at = stats, time.Now()
}

// warn logs groups whose dead letters begin to grow: a growth over several reads
// is one line.
func (m *Monitor) warn(stats []GroupStats) {
	dead, growing := map[string]int64{}, map[string]bool{}
	for _, s := range stats {
		dead[s.Group] = s.Dead
		growing[s.Group] = m.dead != nil && s.Dead > m.dead[s.Group]
		if growing[s.Group] && !m.growing[s.Group] {
			m.log.Warn("queue: dead letters grow", slog.String("group", s.Group), slog.Int64("before", m.dead[s.Group]), slog.Int64("now", s.Dead))
		}
	}
	m.dead, m.growing = dead, growing
}
