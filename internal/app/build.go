package app

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/allowance"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/audit"
	"ratelimiter/internal/catalog"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/config"
	"ratelimiter/internal/devdb"
	"ratelimiter/internal/events"
	"ratelimiter/internal/invoice"
	"ratelimiter/internal/limits"
	"ratelimiter/internal/orders"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/operator"
	"ratelimiter/internal/quota"
	"ratelimiter/internal/retention"
	"ratelimiter/internal/server"
	"ratelimiter/internal/streams"
	"ratelimiter/internal/telemetry"
	"ratelimiter/internal/usage"
	"ratelimiter/internal/workers"
	"ratelimiter/internal/workpool"
	"ratelimiter/middleware"
	"ratelimiter/migrations"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// services are what handlers and middleware call.
type services struct {
	log        *slog.Logger
	db         *pgxpool.Pool
	publisher  *changefeed.Publisher
	watcher    *changefeed.Watcher
	mode       *quota.EnforcementMode
	resolver   *quota.Resolver
	planCache  *quota.PlanCache
	plans      *quota.Plans
	keys       *apikeys.Store
	verifier   *apikeys.Verifier
	keyFilter  *apikeys.Filter
	limits     *limits.Service
	usage      *usage.Service
	audit      *audit.Log
	products   *catalog.Products
	orders     *orders.Store
	events     *events.Log
	queue      *queue.Queue
	worker     *queue.Worker
	monitor    *queue.Monitor
	operator   *operator.Service
	payments   payments
	cpu        *workpool.Pool
	tickets    *apikeys.Tickets
	streams    *streams.Streams
	streamEnds *telemetry.CounterVector
	traffic    *telemetry.Traffic
	deliveries *telemetry.CounterVector

	counting           *counting
	builtIn, anonymous *ratelimit.Limiter
	failures           *middleware.FailureLimiter
	telemetry          *telemetry.Metrics
}

// builtInBytes bounds each store of built-in rates and of addresses: half a million
// keys of as many owners, and 200,000 addresses with 20 failures each.
const builtInBytes = 128 << 20

// newServices builds the services on db. ops is the ops address.
func newServices(cfg *config.Config, db *pgxpool.Pool, ops *server.Listener, o Options) (*services, error) {
	quotaDB := cmp.Or(o.QuotaDB, db)
	now := o.Now
	if now == nil {
		now = time.Now
	}
	var clock []ratelimit.Option
	if o.Now != nil {
		clock = append(clock, ratelimit.WithClock(o.Now))
	}
	newLimiter := func() *ratelimit.Limiter {
		return ratelimit.New(memory.New(memory.WithMaxBytes(builtInBytes)), clock...)
	}
	s := &services{
		log: o.Log, db: db, verifier: apikeys.NewVerifier(db, cfg.Peppers), publisher: changefeed.NewPublisher(db, o.Log),
		audit: audit.New(db), cpu: o.CPU,
		traffic: telemetry.NewTraffic(), tickets: apikeys.NewTickets(db),
		streamEnds: telemetry.NewCounterVector("event_streams_ended_total", "Event streams that have ended, by reason; client: their client ended them.", "reason"),
		deliveries: telemetry.NewCounterVector("queue_deliveries_total",
			"Deliveries of messages to handlers of this instance, by result: done; retried; postponed, without counting an attempt; unknown, without a handler; dead, became a dead letter.",
			"group", "result"),
		usage:   usage.New(db, usage.Config{Log: o.Log, NewStore: func() ratelimit.Store { return memory.New() }}),
		builtIn: newLimiter(), anonymous: newLimiter(), failures: middleware.NewFailureLimiter(newLimiter()),
		telemetry: telemetry.New(), payments: newPayments(cfg, o.Dev, db, ops, o.Log),
	}
	s.counting = newCounting(cfg, db, quotaDB, s.telemetry, o)
	if s.cpu == nil {
		s.cpu = workpool.New()
	}
	if err := s.newQueue(cfg, db, o); err != nil {
		return nil, err
	}
	var err error
	// The mode applies its own changes, so that others only have to be notified.
	s.mode = quota.NewEnforcementMode(db, changefeed.NewInvalidator(s.publisher))
	cacheConfig := quota.CacheConfig{
		Keys: cfg.CacheKeys, TTL: cfg.CacheTTL, Stale: cfg.CacheStale, AsOf: func() time.Time { return s.watcher.LastRead() },
	}
	if s.resolver, err = quota.NewResolver(quotaDB, s.verifier, s.mode, cacheConfig); err != nil {
		return nil, err
	}
	if s.planCache, err = quota.NewPlanCache(quotaDB, s.mode, cacheConfig); err != nil {
		return nil, err
	}
	s.keyFilter = apikeys.NewFilter(quotaDB, o.Log, cfg.Peppers, func() bool { return s.watcher.Current() })
	s.failures.SetFilter(s.keyFilter)
	if s.products, err = catalog.New(db, catalog.Config{
		Stale: cfg.CacheStale, Encode: handlers.EncodeProduct, Invalidator: changefeed.NewInvalidator(s.publisher), // it caches its own changes
	}); err != nil {
		return nil, err
	}
	s.streamEnds.WithLabelValues("client") // 0
	s.streams = streams.New(func(ctx context.Context, ids []string) ([]models.APIKey, error) { return s.keys.GetAll(ctx, ids) },
		func() bool { return s.watcher.Current() }, o.Log, func(reason string) { s.streamEnds.Count(reason) })
	// The streams are last: they read keys again, which the others must have dropped.
	invalidator := changefeed.NewInvalidator(s.publisher, s.resolver, s.planCache, s.keyFilter, s.streams)
	s.plans = quota.NewPlans(db, invalidator)
	s.keys = apikeys.NewStore(db, cfg.Peppers, s.plans, invalidator)
	s.limits = limits.New(s.counting.checks.Limiter, s.planCache, now, s.traffic.Check, cfg.Peppers.Derive("reservations"), s.counting.records())
	s.watcher = changefeed.NewWatcher(o.ListenDB, o.Log, s.mode, s.publisher, s.events, s.resolver, s.planCache, s.keyFilter, s.products, s.streams)
	return s, nil
}

// router returns the API. Waits for events end when serving does.
func (s *services) router(serving context.Context, cfg *config.Config, log *slog.Logger, ready *readiness) http.Handler {
	cursors := handlers.NewCursors(cfg.Peppers.Derive("cursors"))
	eventStreams := handlers.NewEventStreams(s.events, s.streams, cfg.Origins)
	return server.NewRouter(server.Handlers{
		Products:    handlers.NewProducts(s.products, cursors),
		Orders:      handlers.NewOrders(s.payments.orders(whileOutboxHasRoom{s.orders, s.monitor.OutboxFull}), cursors),
		Invoices:    handlers.NewInvoices(invoice.NewService(s.orders), s.cpu),
		Tickets:     handlers.NewTickets(s.tickets),
		Events:      handlers.NewEvents(serving, s.events, eventStreams),
		Streams:     eventStreams,
		Checks:      handlers.NewChecks(s.limits),
		Me:          handlers.NewMe(s.keys, s.counting.keys.Limiter),
		Usage:       handlers.NewUsage(s.usage, cursors),
		Keys:        handlers.NewKeys(s.keys, s.resolver, s.counting.keys.Limiter, cursors),
		Plans:       handlers.NewPlans(s.plans, cursors),
		Limiter:     handlers.NewLimiter(s.mode),
		Audit:       handlers.NewAudit(s.audit, cursors),
		DeadLetters: handlers.NewDeadLetters(s.operator, cursors),
		Queues:      handlers.NewQueues(s.operator),
		Health:      handlers.NewHealth(ready),
	}, server.RouterConfig{
		Log: log, Quotas: s.resolver, Tickets: &ticketResolver{s.tickets, s.resolver}, Failures: s.failures, Limiter: s.counting.keys.Limiter, BuiltIn: s.builtIn, Anonymous: s.anonymous, Usage: s.usage, Meter: s.traffic,
		Fields: cfg.Headers, Origins: cfg.Origins, TrustedProxies: cfg.TrustedProxies,
	})
}

// newQueue builds the queue. Its worker also runs the retention jobs, once per
// cluster.
func (s *services) newQueue(cfg *config.Config, db *pgxpool.Pool, o Options) (err error) {
	routes := maps.Clone(orders.Routes)
	maps.Copy(routes, o.Routes)
	if s.queue, err = queue.New(db, routes, o.Log); err != nil {
		return err
	}
	hub := events.NewHub(s.publisher.PublishEvents)
	s.orders = orders.NewStore(db, s.queue, hub)
	s.events = events.NewLog(db, hub, events.Config{Log: o.Log, Secret: cfg.Peppers.Derive("event cursors"), Snapshot: s.orders.Get})
	runner := retention.New(o.Log, retention.Clocks{Local: time.Now, Database: func(ctx context.Context) (time.Time, error) { return postgres.Now(ctx, db) }})
	var periodic []queue.Periodic
	for _, job := range s.jobs() {
		periodic = append(periodic, queue.Periodic{Name: job.Name, Every: job.Every, Run: func(ctx context.Context) bool { return runner.Run(ctx, job) }})
	}
	transport, err := NewTransport(context.Background(), cfg, o.Log)
	if err != nil {
		return err
	}
	s.monitor, s.operator = queue.NewMonitor(s.queue, o.Log), operator.New(db, s.queue)
	s.worker, err = queue.NewWorker(s.queue, s.handlers(cfg, o), queue.Config{
		Listen: o.ListenDB, Periodic: periodic, Delivered: func(group string, r queue.Result) { s.deliveries.Count(group, string(r)) },
		Transport: transport, Retry: queue.RetryPolicy{Base: cfg.RetryBase, Cap: cfg.RetryCap, MaxAttempts: cfg.RetryAttempts},
	})
	return err
}

// handlers returns the handlers of the workers. A test replaces those of a group, or,
// with routes of its own, all of them.
func (s *services) handlers(cfg *config.Config, o Options) queue.Handlers {
	if o.Routes != nil {
		return o.Handlers
	}
	mailer, sender := newMailer(cfg, o.Dev)
	list := s.payments.handlers(s.orders, o.Log)
	list[orders.GroupInventory] = workers.NewInventory(s.orders).Handlers()
	list[orders.GroupEmail] = workers.NewEmail(s.orders, mailer, sender).Handlers()
	maps.Copy(list, o.Handlers)
	return list
}

// jobs are the retention jobs, and the sweeper of orders.
func (s *services) jobs() []retention.Job {
	return []retention.Job{
		{Name: "change log", Every: changefeed.PruneInterval, Run: func(ctx context.Context, _ time.Time) (bool, error) { return changefeed.Prune(ctx, s.db) }},
		{Name: "audit log", Every: audit.PruneInterval, Run: s.audit.Prune},
		{Name: "allowances", Every: allowance.PruneInterval, Run: func(ctx context.Context, _ time.Time) (bool, error) {
			return allowance.NewTable(s.db).Prune(ctx)
		}},
		{Name: "tickets", Every: apikeys.TicketPruneInterval, Run: func(ctx context.Context, _ time.Time) (bool, error) { return s.tickets.Prune(ctx) }},
		{Name: "idempotency keys", Every: orders.PruneInterval, Run: func(ctx context.Context, _ time.Time) (bool, error) {
			return s.orders.PruneIdempotencyKeys(ctx)
		}},
		{Name: "unfinished orders", Every: orders.SweepInterval, Run: s.sweepOrders},
		{Name: "order events", Every: events.PruneInterval, Run: func(ctx context.Context, now time.Time) (bool, error) { return s.events.Prune(ctx, now) }},
		{Name: "queue inbox", Every: queue.PruneInterval, Run: func(ctx context.Context, _ time.Time) (bool, error) { return s.queue.Prune(ctx) }},
		{Name: "usage packing", Every: usage.PackInterval, Run: s.usage.Pack},
		{Name: "usage partitions", Every: usage.PartitionInterval, Run: func(ctx context.Context, now time.Time) (bool, error) {
			return false, s.usage.MaintainPartitions(ctx, now)
		}},
	}
}

// sweepOrders resumes orders whose messages were lost.
func (s *services) sweepOrders(ctx context.Context, _ time.Time) (more bool, err error) {
	n, err := s.orders.Sweep(ctx)
	if n > 0 {
		s.log.Warn("orders: resumed orders whose messages were lost", "orders", n)
	}
	return n == orders.SweepBatch, err
}

// httpServer is a server and the address that it listens on.
type httpServer struct {
	listener *server.Listener
	server   *server.HTTP
}

// ordered returns the components in start order.
func (a *App) ordered(cfg *config.Config, db *pgxpool.Pool, private *devdb.Supervisor, o Options) []Component {
	s := a.services
	list := []Component{a.api.listener, a.ops.listener, a.ops.server}
	if private != nil {
		list = append(list, private)
	}
	list = append(list,
		&task{name: "database", start: func(ctx context.Context) error {
			if err := checkConnections(ctx, cfg, db, o.ListenDB); err != nil {
				return err
			}
			facts, err := postgres.Inspect(ctx, db)
			if err != nil {
				return err
			}
			for _, line := range facts.DurabilityWarnings() {
				o.Log.Warn(line)
			}
			if err := postgres.CheckSame(ctx, db, o.ListenDB); err != nil {
				return err
			}
			if err := postgres.Migrate(ctx, o.ListenDB, migrations.FS); err != nil {
				return err
			}
			return s.verifier.Check(ctx)
		}, stop: func(context.Context) error { o.ListenDB.Close(); db.Close(); return nil }},
	)
	list = append(list, s.counting.components(o.Log)...)
	list = append(list,
		s.publisher,
		&task{name: "caches", stop: func(context.Context) error { s.resolver.Close(); s.planCache.Close(); s.products.Close(); return nil }},
		s.keyFilter,
	)
	if !o.Isolated {
		list = append(list, s.watcher, s.events)
	}
	list = append(list, s.usage, s.cpu)
	list = append(list, s.payments.components()...)
	if !o.Isolated {
		list = append(list, s.worker, s.monitor)
	}
	if cfg.SMTP == nil && !o.Dev {
		list = append(list, &task{name: "mail", start: func(context.Context) error {
			o.Log.Warn("emails are not sent and wait: SMTP_URL is not set")
			return nil
		}})
	}
	if o.Dev {
		list = append(list, &task{name: "dev keys", start: func(ctx context.Context) (err error) {
			a.greeting, err = greeting(ctx, cfg, s, a.Addr())
			return err
		}})
	}
	return append(list, a.api.server, s.streams, &task{name: "readiness", start: func(context.Context) error { a.readiness.start(); return nil }})
}

// checkConnections checks that the databases of both pools can be used. The error is
// a *postgres.ConnectionError.
func checkConnections(ctx context.Context, cfg *config.Config, db, direct *pgxpool.Pool) error {
	name := "DATABASE_URL"
	if cfg.DatabaseURL == "" {
		name = "private Postgres"
	}
	if err := postgres.Check(ctx, db); err != nil || direct == db {
		return postgres.NewConnectionError(name, db, err)
	}
	return postgres.NewConnectionError("DATABASE_LISTEN_URL", direct, postgres.Check(ctx, direct))
}
