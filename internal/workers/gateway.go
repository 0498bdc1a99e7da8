package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/sony/gobreaker/v2"

	"ratelimiter/models"
)

const (
	// gatewayTimeout bounds one call. A delivery makes at most three, within its own
	// five seconds.
	gatewayTimeout = time.Second
	// maxGatewayResponse bounds the responses that are read, which take 200 bytes.
	maxGatewayResponse = 64 << 10
	// maxGatewayHeader bounds their header.
	maxGatewayHeader = 16 << 10
	// gatewayConnections are kept open: more than the deliveries that run at once.
	gatewayConnections = 16
)

// Gateway is the client of a payment gateway that speaks the protocol of package
// devgateway. Each call has a deadline and an idempotency key, so that it can be
// repeated, and passes a circuit breaker. It is a component of the server and safe
// for concurrent use.
type Gateway struct {
	base      func() string // URL without a slash at its end
	transport *http.Transport
	client    *http.Client
	breaker   *gobreaker.CircuitBreaker[response]
	count     func(call, result string)
	timeout   time.Duration // of one call
}

// NewGateway returns a client of the gateway at base, which is called when the URL
// is needed. count is called with the name and the result of each call.
func NewGateway(base func() string, log *slog.Logger, count func(call, result string)) *Gateway {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxResponseHeaderBytes = gatewayConnections, maxGatewayHeader
	return &Gateway{
		base: base, transport: transport, breaker: newBreaker(log), count: count, timeout: gatewayTimeout,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a payment isn't sent elsewhere
		},
	}
}

// Name implements app.Component.
func (*Gateway) Name() string { return "payment gateway client" }

// Start does nothing.
func (*Gateway) Start(context.Context) error { return nil }

// Stop closes the idle connections.
func (g *Gateway) Stop(context.Context) error {
	g.transport.CloseIdleConnections()
	return nil
}

// Suspended returns the error of a call that the circuit breaker would reject now;
// nil: none.
func (g *Gateway) Suspended() error {
	if g.breaker.State() == gobreaker.StateOpen {
		return postponed(gobreaker.ErrOpenState)
	}
	return nil
}

// BreakerState returns the state of the circuit breaker: 0 closed, 1 half-open,
// 2 open.
func (g *Gateway) BreakerState() int { return int(g.breaker.State()) }

// AuthorizationStatus is what the gateway says of an authorization.
type AuthorizationStatus string

// The statuses of an authorization.
const (
	AuthorizationHeld     AuthorizationStatus = "authorized"
	AuthorizationDeclined AuthorizationStatus = "declined"
	AuthorizationCaptured AuthorizationStatus = "captured"
	AuthorizationVoided   AuthorizationStatus = "voided"
)

// Authorization is a payment at the gateway.
type Authorization struct {
	ID     string              `json:"id"`
	Status AuthorizationStatus `json:"status"`
}

// check rejects what can't be stored or isn't understood.
func (a Authorization) check() error {
	known := []AuthorizationStatus{AuthorizationHeld, AuthorizationDeclined, AuthorizationCaptured, AuthorizationVoided}
	if !authorizationID.MatchString(a.ID) || !slices.Contains(known, a.Status) {
		return errMalformed
	}
	return nil
}

// authorizationID matches the ids that are accepted.
var authorizationID = regexp.MustCompile(`^[!-~]{1,255}$`)

// errMalformed reports a response that doesn't follow the protocol.
var errMalformed = errors.New("the gateway's response is malformed")

// ErrNoAuthorization reports that the gateway knows no authorization of an order.
var ErrNoAuthorization = errors.New("the gateway knows no authorization of the order")

// Find returns the authorization of an order. Errors: ErrNoAuthorization; others are
// worth a retry.
func (g *Gateway) Find(ctx context.Context, orderID string) (Authorization, error) {
	var found struct {
		Data []Authorization `json:"data"`
	}
	_, err := g.call(ctx, "find", http.MethodGet, "/authorizations?order_id="+url.QueryEscape(orderID), "", nil, &found)
	if err != nil {
		return Authorization{}, err
	}
	if len(found.Data) == 0 {
		return Authorization{}, ErrNoAuthorization
	}
	// There is one: all requests for the order have the same idempotency key.
	return found.Data[0], found.Data[0].check()
}

// Authorize asks the gateway to hold an amount. An order that was voided is declined.
// When the outcome of the call is unknown, the gateway is asked. Errors are worth a
// retry.
func (g *Gateway) Authorize(ctx context.Context, orderID string, amount models.Money, token string) (a Authorization, err error) {
	refusal, err := g.call(ctx, "authorize", http.MethodPost, "/authorizations", orderID, map[string]any{
		"order_id": orderID, "amount": amount.Amount, "currency": amount.Currency, "payment_token": token,
	}, &a)
	if refusal != "" {
		return Authorization{Status: AuthorizationDeclined}, nil
	}
	if found, known := g.outcome(ctx, orderID, err); known {
		return found, nil
	}
	if err == nil {
		err = a.check()
	}
	return a, err
}

// Capture asks the gateway to charge an authorization, and returns it as it is then:
// captured, or declined or voided if the gateway refuses. When the outcome of the
// call is unknown, the gateway is asked. Errors are worth a retry.
func (g *Gateway) Capture(ctx context.Context, orderID, authorizationID string) (a Authorization, err error) {
	refusal, err := g.call(ctx, "capture", http.MethodPost, "/captures", orderID, map[string]any{"authorization_id": authorizationID}, &a)
	if found, known := g.outcome(ctx, orderID, err); known && found.Status != AuthorizationHeld {
		return found, nil
	}
	if refusal != "" {
		a, err = g.Find(ctx, orderID)
	} else if err == nil {
		err = a.check()
	}
	if err == nil && a.Status == AuthorizationHeld {
		err = errNotCaptured
	}
	return a, err
}

// outcome asks the gateway for the outcome of a call that ended with err. It is known
// if the outcome was unknown and the gateway has an authorization of the order.
func (g *Gateway) outcome(ctx context.Context, orderID string, err error) (a Authorization, known bool) {
	if isUnknown(err) {
		a, err = g.Find(ctx, orderID)
		known = err == nil
	}
	return a, known
}

var (
	// errNotCaptured reports an authorization that the gateway still only holds.
	errNotCaptured = errors.New("payment gateway, capture: the authorization isn't captured")
	// errCaptured reports that an order can't be voided.
	errCaptured = errors.New("the gateway has captured the payment of a cancelled order: refund it at the gateway")
)

// Void makes the gateway refuse authorizations of an order, and release the one that
// there may be: voided reports whether there was one. Errors are worth a retry,
// except errCaptured.
func (g *Gateway) Void(ctx context.Context, orderID string) (voided bool, err error) {
	var done struct {
		Voided []Authorization `json:"voided"`
	}
	refusal, err := g.call(ctx, "void", http.MethodPost, "/voids", orderID, map[string]any{"order_id": orderID}, &done)
	if refusal != "" {
		err = errCaptured
	}
	return len(done.Voided) > 0, err
}

// response is the answer to a call.
type response struct {
	status  int
	body    []byte
	refusal string // of a conflict (409): its code; empty: it isn't one that the protocol has
}

// refusals are the codes of the conflicts that are answers and no failures.
var refusals = []string{"order_voided", "already_captured", "not_authorized"}

// call makes a call with the order and the name of the call as its idempotency key,
// and decodes the body of a success into out. It returns the code of a refusal.
func (g *Gateway) call(ctx context.Context, name, method, path, orderID string, body, out any) (refusal string, err error) {
	r, err := g.breaker.Execute(func() (response, error) {
		ctx, cancel := context.WithTimeout(ctx, g.timeout)
		defer cancel()
		r, err := g.send(ctx, method, path, orderID+":"+name, body)
		if err == nil && r.status < http.StatusMultipleChoices && json.Unmarshal(r.body, out) != nil {
			err = errMalformed
		}
		return r, err
	})
	if err == nil && r.status >= http.StatusMultipleChoices && r.refusal == "" {
		err = statusError(r.status)
	}
	g.count(name, resultOf(r, err))
	switch {
	case suspended(err):
		return "", postponed(err)
	case err != nil:
		return "", fmt.Errorf("payment gateway, %s: %w", name, err)
	}
	return r.refusal, nil
}

// suspended reports whether the circuit breaker rejected a call.
func suspended(err error) bool {
	return errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
}

// resultOf returns the result of a call for the metrics.
func resultOf(r response, err error) string {
	switch {
	case suspended(err):
		return "suspended"
	case isUnknown(err):
		return "unknown"
	case err != nil:
		return "failed"
	case r.refusal != "":
		return "refused"
	default:
		return "ok"
	}
}
