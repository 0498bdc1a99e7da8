package app

import (
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/allowance"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/cache"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/events"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/telemetry"
	"ratelimiter/internal/usage"
	"ratelimiter/internal/workpool"
	"ratelimiter/ratelimit/fallback"
)

// metrics returns the metrics of the services, each component's by a function
// below. docs/guide/metrics.md describes all of them.
func (s *services) metrics() *telemetry.Metrics {
	m, c := s.telemetry, s.counting
	m.Add(s.traffic.Collectors()...)
	m.Add(cacheMetrics("keys", s.resolver.CacheStats)...)
	m.Add(cacheMetrics("plans", s.planCache.CacheStats)...)
	m.Add(cacheMetrics("products", s.products.CacheStats)...)
	m.Add(cacheMetrics("product_pages", s.products.PageCacheStats)...)
	m.Add(keyFilterMetrics(s.keyFilter)...)
	m.Add(changeFeedMetrics(s.watcher)...)
	m.Add(eventMetrics(s.events)...)
	m.Add(usageMetrics(s.usage)...)
	m.Add(databaseMetrics(s.db)...)
	m.Add(cpuPoolMetrics(s.cpu)...)
	m.Add(s.deliveries, s.streamEnds, telemetry.Gauge("event_streams_open", "Open event streams: Server-Sent Events and WebSockets.", nil,
		func() float64 { return float64(s.streams.Count()) }))
	m.Add(s.payments.metrics()...)
	m.Add(queueMetrics(s.monitor.Stats)...)
	m.Add(
		telemetry.Gauge("queue_outbox_messages", "Messages that wait in Postgres for the broker; 0 without a broker.", nil, func() float64 { return float64(s.monitor.Outbox()) }),
		telemetry.Gauge("queue_broker_up", "1 unless this instance can't use the broker of QUEUE; 1 without a broker.", nil, telemetry.Bool(func() bool { return s.worker.TransportFault() == nil })),
	)
	m.Add(allowanceMetrics("keys", c.keys.allowances)...)
	m.Add(allowanceMetrics("checks", c.checks.allowances)...)
	m.Add(
		telemetry.Gauge("open_reservations", "Reservations of callers that are neither committed nor released nor expired.", nil,
			func() float64 { return float64(s.limits.Open()) }),
		telemetry.Gauge("enforcement_shadow", "1 while all policies are in shadow mode, so that none refuses.", nil, telemetry.Bool(s.mode.Shadow)),
	)
	if c.redis != nil {
		m.Add(fallbackMetrics("keys", c.keys.fallback)...)
		m.Add(fallbackMetrics("checks", c.checks.fallback)...)
		m.Add(telemetry.Gauge("instances", "Running instances that share the counters.", nil, func() float64 { return float64(c.instances.Count()) }))
	}
	return m
}

// fallbackMetrics returns the metrics of decisions with and without Redis: those on
// keys, or on callers' own subjects.
func fallbackMetrics(of string, f *fallback.Store) []telemetry.Collector {
	labels := telemetry.Labels{"of": of}
	list := []telemetry.Collector{
		telemetry.Gauge("redis_up", "1 while decisions are made in Redis, 0 while this instance decides alone.", labels,
			telemetry.Bool(func() bool { return !f.Figures().Down })),
		telemetry.Gauge("redis_units_admitted_alone", "Units admitted without Redis since the start, and not given back.", labels,
			func() float64 { return float64(f.Figures().Admitted) }),
		telemetry.Gauge("redis_unreported_counters", "Counters with units that Redis doesn't know yet.", labels,
			func() float64 { return float64(f.Figures().Unreported) }),
	}
	for _, c := range []struct {
		name, help string
		of         func(fallback.Figures) int64
	}{
		{"outages", "How often Redis was lost.", func(f fallback.Figures) int64 { return f.Outages }},
		{"decisions_alone", "Decisions made without Redis.", func(f fallback.Figures) int64 { return f.Alone }},
		{"units_reported", "Units admitted without Redis that were charged to it later; others had been restored by time.", func(f fallback.Figures) int64 { return f.Reported }},
		{"units_dropped", "Units admitted without Redis that couldn't be charged to it later.", func(f fallback.Figures) int64 { return f.Dropped }},
		{"refunds_dropped", "Refunds that couldn't be made in Redis: their units stay spent.", func(f fallback.Figures) int64 { return f.LostGives }},
	} {
		list = append(list, telemetry.Counter("redis_"+c.name+"_total", c.help, labels, func() float64 { return float64(c.of(f.Figures())) }))
	}
	return list
}

// cacheMetrics returns the metrics of a cache.
func cacheMetrics(name string, stats func() cache.Stats) []telemetry.Collector {
	list := []telemetry.Collector{telemetry.Gauge("cache_entries", "Values in a cache.", telemetry.Labels{"cache": name},
		func() float64 { return float64(stats().Entries) })}
	for result, of := range map[string]func(cache.Stats) int64{
		"hit": func(s cache.Stats) int64 { return s.Hits }, "stale": func(s cache.Stats) int64 { return s.Stale },
		"negative": func(s cache.Stats) int64 { return s.Negative }, "miss": func(s cache.Stats) int64 { return s.Misses },
	} {
		list = append(list, telemetry.Counter("cache_reads_total",
			"Reads of a cache: hit; stale, an expired value while it is loaded again; negative, known not to exist; miss, which waits for a load.",
			telemetry.Labels{"cache": name, "result": result}, func() float64 { return float64(of(stats())) }))
	}
	for result, of := range map[string]func(cache.Stats) int64{
		"found": func(s cache.Stats) int64 { return s.Loaded }, "absent": func(s cache.Stats) int64 { return s.Absent },
		"failed": func(s cache.Stats) int64 { return s.Failed },
	} {
		list = append(list, telemetry.Counter("cache_loads_total", "Loads of a value from Postgres, also in the background.",
			telemetry.Labels{"cache": name, "result": result}, func() float64 { return float64(of(stats())) }))
	}
	return list
}

// keyFilterMetrics returns the metrics of the filter of unknown keys.
func keyFilterMetrics(f *apikeys.Filter) []telemetry.Collector {
	return []telemetry.Collector{
		telemetry.Gauge("key_filter_keys", "Live keys that the filter of unknown keys holds.", nil, func() float64 { return float64(f.Stats().Keys) }),
		telemetry.Gauge("key_filter_pending_keys", "Changed keys that the filter has to read again.", nil, func() float64 { return float64(f.Stats().Pending) }),
		telemetry.Gauge("key_filter_complete", "1 while unknown keys are refused from memory; otherwise each costs a query, and lookups are slowed.", nil,
			telemetry.Bool(func() bool { return f.Stats().Complete })),
	}
}

// changeFeedMetrics returns the metrics of the feed of changes.
func changeFeedMetrics(w *changefeed.Watcher) []telemetry.Collector {
	return []telemetry.Collector{
		telemetry.Gauge("change_feed_lag_seconds", "Time since the last successful read of the change log; not a number before the first.", nil, func() float64 {
			if at := w.LastRead(); !at.IsZero() {
				return time.Since(at).Seconds()
			}
			return math.NaN()
		}),
		telemetry.Gauge("change_feed_current", "1 while every change of any instance is in force here, except those of the last seconds.", nil, telemetry.Bool(w.Current)),
		telemetry.Gauge("change_listener_connected", "1 while the connection of the change feed is open.", nil, telemetry.Bool(w.Connected)),
		telemetry.Counter("change_listener_disconnects_total", "Times that the change feed lost its connection.", nil, func() float64 { return float64(w.Disconnects()) }),
	}
}

// eventMetrics returns the metrics of the log of events.
func eventMetrics(l *events.Log) []telemetry.Collector {
	return []telemetry.Collector{
		telemetry.Gauge("event_watchers", "Requests and streams that wait for events.", nil, func() float64 { return float64(l.Stats().Watchers) }),
		telemetry.Gauge("event_topics", "Orders and owners whose events are waited for, or were some seconds ago.", nil, func() float64 { return float64(l.Stats().Topics) }),
		telemetry.Counter("event_reads_total", "Queries for events.", nil, func() float64 { return float64(l.Stats().Reads) }),
		telemetry.GaugeVector("event_feed_lag_seconds",
			"Age of the oldest transaction that writes, for which owners' feeds wait, with its application_name and process; 0: none is older than some seconds.",
			"blocker", func(set func(string, float64)) {
				if b := l.Blocker(); b != nil {
					set(fmt.Sprintf("%s, pid %d", b.Application, b.PID), b.Age.Seconds())
				} else {
					set("", 0)
				}
			}),
	}
}

// usageMetrics returns the metrics of the recording of usage.
func usageMetrics(u *usage.Service) []telemetry.Collector {
	const backlog = "Entries of usage in memory that aren't written to Postgres yet."
	return []telemetry.Collector{
		telemetry.Gauge("usage_backlog_entries", backlog, telemetry.Labels{"of": "counts"}, func() float64 { counts, _ := u.Backlog(); return float64(counts) }),
		telemetry.Gauge("usage_backlog_entries", backlog, telemetry.Labels{"of": "refusals"}, func() float64 { _, refusals := u.Backlog(); return float64(refusals) }),
		telemetry.Counter("usage_uncounted_requests_total", "Requests missing in the usage history: a buffer was full, or a batch was dropped.", nil,
			func() float64 { return float64(u.Lost()) }),
		telemetry.Counter("usage_dropped_refusals_total", "Records of a key's refusals that were dropped for the same reasons.", nil,
			func() float64 { return float64(u.DroppedRefusals()) }),
		telemetry.Gauge("usage_disk_full", "1 while Postgres has no space for usage.", nil, telemetry.Bool(u.DiskFull)),
	}
}

// databaseMetrics returns the metrics of the connection pool.
func databaseMetrics(db *pgxpool.Pool) []telemetry.Collector {
	const connections = "Connections to Postgres by state."
	state := func(name string, of func(*pgxpool.Stat) int32) telemetry.Collector {
		return telemetry.Gauge("database_connections", connections, telemetry.Labels{"state": name}, func() float64 { return float64(of(db.Stat())) })
	}
	admin := func(share int) func() float64 {
		return func() float64 {
			held, most := postgres.AdminShare(db)
			return float64([2]int{held, most}[share])
		}
	}
	return []telemetry.Collector{
		state("in_use", (*pgxpool.Stat).AcquiredConns), state("idle", (*pgxpool.Stat).IdleConns), state("opening", (*pgxpool.Stat).ConstructingConns),
		telemetry.Gauge("database_max_connections", "Largest number of connections to Postgres.", nil, func() float64 { return float64(db.Stat().MaxConns()) }),
		telemetry.Gauge("database_admin_connections", "Connections that administrative requests hold.", nil, admin(0)),
		telemetry.Gauge("database_admin_max_connections", "Largest number of connections that administrative requests may hold.", nil, admin(1)),
		telemetry.Counter("database_acquires_total", "Connections taken from the pool.", nil, func() float64 { return float64(db.Stat().AcquireCount()) }),
		telemetry.Counter("database_acquire_waits_total", "Connections taken from the pool after a wait, because none was idle.", nil,
			func() float64 { return float64(db.Stat().EmptyAcquireCount()) }),
		telemetry.Counter("database_acquire_wait_seconds_total", "Time of these waits.", nil,
			func() float64 { return db.Stat().EmptyAcquireWaitTime().Seconds() }),
		telemetry.Counter("database_acquire_failures_total", "Waits for a connection that ended without one.", nil,
			func() float64 { return float64(db.Stat().CanceledAcquireCount()) }),
	}
}

// cpuPoolMetrics returns the metrics of the pool for CPU-bound work.
func cpuPoolMetrics(p *workpool.Pool) []telemetry.Collector {
	return []telemetry.Collector{
		telemetry.Gauge("cpu_pool_workers", "Jobs that may run at once.", nil, func() float64 { return float64(p.Stats().Workers) }),
		telemetry.Gauge("cpu_pool_running_jobs", "Jobs that run.", nil, func() float64 { return float64(p.Stats().Running) }),
		telemetry.Gauge("cpu_pool_waiting_jobs", "Jobs that wait for a worker.", nil, func() float64 { return float64(p.Stats().Waiting) }),
		telemetry.Counter("cpu_pool_rejected_jobs_total", "Jobs that found the queue full or no worker in time.", nil, func() float64 { return float64(p.Stats().Rejected) }),
	}
}

// queueMetrics returns the metrics of the groups of the queue. They are those of the
// cluster, the same on each instance.
func queueMetrics(stats func() []queue.GroupStats) []telemetry.Collector {
	gauge := func(name, help string, of func(queue.GroupStats) float64) telemetry.Collector {
		return telemetry.GaugeVector(name, help, "group", func(set func(group string, value float64)) {
			for _, s := range stats() {
				set(s.Group, of(s))
			}
		})
	}
	return []telemetry.Collector{
		gauge("queue_waiting_messages", "Messages whose time has come, as of the last seconds.", func(s queue.GroupStats) float64 { return float64(s.Ready) }),
		gauge("queue_delayed_messages", "Messages that wait for their next attempt.", func(s queue.GroupStats) float64 { return float64(s.Delayed) }),
		gauge("queue_in_flight_messages", "Messages in a delivery.", func(s queue.GroupStats) float64 { return float64(s.InFlight) }),
		gauge("queue_dead_letters", "Dead letters.", func(s queue.GroupStats) float64 { return float64(s.Dead) }),
		gauge("queue_oldest_message_seconds", "Time that the oldest waiting message waits for; 0: none waits.", func(s queue.GroupStats) float64 { return s.OldestAge.Seconds() }),
		gauge("queue_broker_messages", "Messages in the broker of QUEUE, if it answers; 0 without a broker.", func(s queue.GroupStats) float64 { return float64(s.InBroker) }),
		gauge("queue_paused", "1 while the group is paused.", func(s queue.GroupStats) float64 { return telemetry.Bool(func() bool { return s.Paused })() }),
	}
}

// allowanceMetrics returns the metrics of calendar counters: those of keys, or of
// callers' own subjects.
func allowanceMetrics(of string, a *allowance.Service) []telemetry.Collector {
	labels := telemetry.Labels{"of": of}
	list := []telemetry.Collector{
		telemetry.Gauge("allowance_open_units", "Leased units that aren't spent, as of the last idle check; a crash wastes them.", labels,
			func() float64 { return float64(a.Stats().Open) }),
		telemetry.Gauge("allowance_counters", "Calendar counters in use.", labels, func() float64 { return float64(a.Stats().Counters) }),
	}
	for _, c := range []struct {
		name, help string
		of         func(allowance.Stats) int64
	}{
		{"leased_units", "Units leased from Postgres.", func(s allowance.Stats) int64 { return s.Leased }},
		{"returned_units", "Leased units returned to Postgres.", func(s allowance.Stats) int64 { return s.Returned }},
		{"wasted_units", "Leased units that could neither be spent nor returned.", func(s allowance.Stats) int64 { return s.Wasted }},
		{"uncertain_units", "Units asked for by statements whose reply was lost: wasted if they took effect.", func(s allowance.Stats) int64 { return s.Uncertain }},
		{"statements", "Statements that lease, read or return units.", func(s allowance.Stats) int64 { return s.Statements }},
		{"rows", "Counters in these statements.", func(s allowance.Stats) int64 { return s.Rows }},
		{"failures", "Statements that failed.", func(s allowance.Stats) int64 { return s.Failures }},
	} {
		list = append(list, telemetry.Counter("allowance_"+c.name+"_total", c.help, labels, func() float64 { return float64(c.of(a.Stats())) }))
	}
	return list
}
