package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/config"
	"ratelimiter/internal/devgateway"
	"ratelimiter/internal/orders"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/server"
	"ratelimiter/internal/telemetry"
	"ratelimiter/internal/workers"
	"ratelimiter/models"
)

// payments are the client of the payment gateway, and the gateway of dev mode.
type payments struct {
	client *workers.Gateway    // nil: no gateway is configured
	dev    *devgateway.Gateway // nil: it isn't used
	calls  *telemetry.CounterVector
	log    *slog.Logger
}

// newPayments returns the parts that the settings ask for. The gateway of dev mode is
// served on ops.
func newPayments(cfg *config.Config, dev bool, db *pgxpool.Pool, ops *server.Listener, log *slog.Logger) payments {
	p := payments{log: log, calls: telemetry.NewCounterVector("payment_calls_total",
		"Calls to the payment gateway by this instance, by result: ok; refused; failed; unknown, without a response; suspended, not made because the circuit breaker is open.",
		"call", "result")}
	for _, call := range []string{"authorize", "find", "capture", "void"} {
		p.calls.WithLabelValues(call, "ok") // 0
	}
	count := func(call, result string) { p.calls.Count(call, result) }
	switch cfg.PaymentGateway(dev) {
	case config.GatewayExternal:
		p.client = workers.NewGateway(func() string { return cfg.PaymentURL }, log, count)
	case config.GatewayDev:
		p.dev = devgateway.New(db)
		p.client = workers.NewGateway(func() string { return "http://" + ops.Addr().String() + devgateway.Path }, log, count)
	case config.GatewayNone:
	}
	return p
}

// mount adds the gateway of dev mode to the ops address.
func (p payments) mount(router gin.IRouter) {
	if p.dev != nil {
		p.dev.Routes(router)
	}
}

// components returns those in start order.
func (p payments) components() (list []Component) {
	if p.dev != nil {
		list = append(list, p.dev)
	}
	if p.client != nil {
		return append(list, p.client)
	}
	return append(list, &task{name: "payments", start: func(context.Context) error {
		p.log.Warn("orders are not accepted: PAYMENT_URL is not set, and the built-in payment gateway needs --dev and a loopback OPS_ADDR")
		return nil
	}})
}

// metrics returns the metrics of the calls.
func (p payments) metrics() []telemetry.Collector {
	list := []telemetry.Collector{p.calls}
	if p.client != nil {
		list = append(list, telemetry.Gauge("payment_breaker_state", "State of the circuit breaker of the payment gateway: 0 closed, 1 half-open, 2 open.", nil,
			func() float64 { return float64(p.client.BreakerState()) }))
	}
	return list
}

// handlers returns the handlers of the payment worker. Without a gateway messages wait.
func (p payments) handlers(store *orders.Store, log *slog.Logger) queue.Handlers {
	if p.client == nil {
		return queue.Handlers{}
	}
	return queue.Handlers{orders.GroupPayment: workers.NewPayment(store, p.client, log).Handlers()}
}

// orders returns a service that places orders only if they can be paid.
func (p payments) orders(service handlers.OrderService) handlers.OrderService {
	if p.client == nil {
		return unpayable{service}
	}
	return service
}

// unpayable is an OrderService without a payment gateway.
type unpayable struct{ handlers.OrderService }

// errUnpayable is the error of an order that nobody could charge. Only a restart with
// another configuration ends it.
var errUnpayable = &models.Error{
	Kind: models.KindUnavailable, Code: "payments_unavailable", RetryAfter: time.Minute,
	Message: "Orders are not accepted: the server has no payment gateway. Its operator sets PAYMENT_URL.",
}

// Create implements handlers.OrderService.
func (unpayable) Create(context.Context, models.NewOrder) (models.Order, bool, error) {
	return models.Order{}, false, errUnpayable
}
