package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Transport is an http.RoundTripper that sends the requests of one key at the
// speed that the key's quota allows. It is safe for concurrent use; clients of
// one key in a process should share one, by [WithTransport].
type Transport struct {
	server *url.URL
	key    string
	settings
	pacer    *pacer
	learning chan struct{} // of capacity 1: who reads the policies
	triedAt  instant       // when they were last read; guarded by learning and the pacer's lock
}

var _ http.RoundTripper = (*Transport)(nil)

// NewTransport returns a transport for the API at baseURL. The error says what
// is wrong with baseURL or the key.
func NewTransport(baseURL, key string, options ...Option) (*Transport, error) {
	server, err := url.Parse(baseURL)
	if err != nil {
		return nil, err
	}
	if (server.Scheme != "http" && server.Scheme != "https") || server.Host == "" {
		return nil, fmt.Errorf("the base URL %q isn't one of http or https", baseURL)
	}
	if key == "" {
		return nil, errors.New("no API key")
	}
	t := &Transport{server: server, key: key, settings: newSettings(options), learning: make(chan struct{}, 1)}
	t.pacer = newPacer(t.longestWait, t.longestQueue)
	return t, nil
}

// RoundTrip sends the request when the quota has room for it, with the key,
// and again when that does no harm: after a refusal, after 503, and when no
// answer came. The error is a *WaitError when that would take too long, an
// *UnansweredError when the request was sent and what became of it isn't known,
// or the context's.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.paced(request)
	if err != nil && request.Body != nil {
		_ = request.Body.Close() // as the interface asks, also when nothing was sent
	}
	return response, err
}

func (t *Transport) paced(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != t.server.Scheme || request.URL.Host != t.server.Host {
		return nil, fmt.Errorf("the key is for %s, not for %s", t.server.Host, request.URL.Host)
	}
	op := operationOf(request.Method, t.below(request.URL.Path))
	request = t.prepare(request, op)
	turn := t.pacer.arrive(op)
	for {
		response, err := t.try(request, turn)
		switch {
		case response == nil:
			if !turn.again {
				return nil, turn.failed(request, err)
			}
		case !turn.again:
			response.Request = request
			return response, nil
		default:
			_ = response.Body.Close() // nobody reads it
		}
		if request, err = rewound(request); err != nil {
			return nil, turn.failed(request, err)
		}
	}
}

// try waits until the request may be sent, and sends it once. Whether it is to
// be tried again stands in turn then.
func (t *Transport) try(request *http.Request, turn *turn) (*http.Response, error) {
	ctx := request.Context()
	turn.again = false
	if turn.op.cost > 0 {
		if err := t.learn(ctx); err != nil {
			return nil, err
		}
	}
	ticket, err := t.pacer.acquire(ctx, turn, t.lookAgain)
	if err != nil {
		return nil, err
	}
	response, err := t.send(request, ticket)
	if err != nil {
		t.pacer.answered(ticket, nil)
		t.pacer.ended(ticket)
		turn.unanswered = true
		turn.again = t.afterSilence(request, turn)
		return nil, err
	}
	if t.pacer.answered(ticket, response) {
		t.forget()
	}
	turn.again = t.afterAnswer(request, response, turn, ticket)
	if turn.again && response.StatusCode != http.StatusTooManyRequests { // it may have been done
		turn.unanswered = true
	}
	return response, nil
}

// below is the path without that of the base URL.
func (t *Transport) below(path string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, strings.TrimSuffix(t.server.Path, "/")), "/")
}

// prepare copies the request, which must not be changed, and adds the key, and
// for an order an Idempotency-Key: it stays the same over all tries, so that
// none makes a second order.
func (t *Transport) prepare(request *http.Request, op *operation) *http.Request {
	request = request.Clone(request.Context())
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", t.userAgent)
	}
	if op.method == http.MethodPost && op.path == "/v1/orders" && request.Header.Get(idempotencyKey) == "" {
		request.Header.Set(idempotencyKey, rand.Text())
	}
	return request
}

const idempotencyKey = "Idempotency-Key"

// send sends once. The answer's body frees the ticket's slots when it has ended,
// and is cut off after the time-out, unless it is a stream of events.
func (t *Transport) send(request *http.Request, ticket *ticket) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	ended := func() {
		if ticket != nil {
			t.pacer.ended(ticket)
		}
	}
	timer := time.AfterFunc(t.timeout, func() {
		cancel(errTimeout)
		ended() // also when nobody closes the body
	})
	request = request.Clone(ctx)
	request.Header.Set("Authorization", "Bearer "+t.key)
	response, err := t.base.RoundTrip(request)
	if err != nil {
		timer.Stop()
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errTimeout
		}
		cancel(nil)
		return nil, err
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") || response.StatusCode == http.StatusSwitchingProtocols {
		timer.Stop()
	}
	response.Body = watch(response.Body, func() {
		timer.Stop()
		cancel(nil)
		ended()
	})
	return response, nil
}

var errTimeout = errors.New("no answer within the time-out")

// rewound is the request with its body from the start.
func rewound(request *http.Request) (*http.Request, error) {
	if request.Body == nil || request.Body == http.NoBody {
		return request, nil
	}
	body, err := request.GetBody()
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	request.Body = body
	return request, nil
}

// forget makes the next request read the policies anew.
func (t *Transport) forget() {
	t.pacer.mu.Lock()
	defer t.pacer.mu.Unlock()
	t.pacer.learned, t.triedAt = false, 0
}

// lookAgain is look for those who wait: where it shows other policies than are
// known, they are read too. That it failed is seen by who sends next.
func (t *Transport) lookAgain(ctx context.Context) {
	if changed, err := t.look(ctx); err == nil && changed {
		t.forget()
		_ = t.learn(ctx)
	}
}

// watched is a body that tells when it has ended: read to its end, failed, or closed.
type watched struct {
	io.ReadCloser
	ended func()
}

// watch wraps a body. That of a 101 is the connection, and stays writable.
func watch(body io.ReadCloser, ended func()) io.ReadCloser {
	w := &watched{ReadCloser: body, ended: ended}
	if writer, ok := body.(io.Writer); ok {
		return struct {
			*watched
			io.Writer
		}{w, writer}
	}
	return w
}

func (w *watched) Read(into []byte) (int, error) {
	n, err := w.ReadCloser.Read(into)
	if err != nil {
		w.ended()
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	w.ended()
	return err
}
