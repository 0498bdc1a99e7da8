package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// Transport is an http.RoundTripper that adds the API key, sends requests at the
// pace that the quota allows, and retries them. [New] uses one; create your own
// to call the API with another http.Client. It is safe for concurrent use.
type Transport struct {
	server  *url.URL
	key     string
	options Options
	pacer   *pacer
}

var _ http.RoundTripper = (*Transport)(nil)

// NewTransport returns a transport for the API at baseURL. Options may be nil.
// The error reports a malformed baseURL or a missing key.
func NewTransport(baseURL, key string, options *Options) (*Transport, error) {
	server, err := url.Parse(baseURL)
	if err != nil {
		return nil, err
	}
	if (server.Scheme != "http" && server.Scheme != "https") || server.Host == "" {
		return nil, fmt.Errorf("base URL %q is not an absolute http or https URL", baseURL)
	}
	if key == "" {
		return nil, errors.New("API key is empty")
	}
	return &Transport{server: server, key: key, options: options.withDefaults(), pacer: newPacer()}, nil
}

// RoundTrip sends the request when the quota has room for it, and retries it
// as the package comment describes. The error is a *WaitError if the request
// would wait too long, an *UnansweredError if it may have been carried out, or
// the context's.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.roundTrip(request)
	if err != nil && request.Body != nil {
		_ = request.Body.Close() // required of a RoundTripper, also if nothing was sent
	}
	return response, err
}

func (t *Transport) roundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != t.server.Scheme || request.URL.Host != t.server.Host {
		return nil, fmt.Errorf("the API key is for %s, not for %s", t.server.Host, request.URL.Host)
	}
	op := operationOf(request.Method, t.below(request.URL))
	request = t.prepare(request, op)
	ctx := request.Context()
	deadline := time.Now().Add(t.options.MaxWait)
	c := t.pacer.newCall(op, deadline)
	failures := 0 // attempts that may have been carried out
	for n := 1; ; n++ {
		if err := t.pacer.acquire(ctx, c); err != nil {
			return nil, failure(request, err, failures > 0)
		}
		response, err := t.send(request, c, n)
		now := time.Now()
		next := nextAttempt(request, response, err, n, now)
		t.pacer.answered(c, response, next.held)
		if next.held.IsZero() {
			failures++
		}
		if !next.again || failures >= t.options.MaxAttempts || n >= maxRefusals || next.at.After(deadline) {
			if err != nil {
				return nil, failure(request, err, true)
			}
			response.Request = request
			return response, nil
		}
		if response != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxProblem)) // to reuse the connection
			_ = response.Body.Close()                                             // nothing to do about an error
		}
		if err := sleep(ctx, next.at.Sub(now)); err != nil {
			return nil, failure(request, err, failures > 0)
		}
	}
}

// below returns the escaped path without that of the base URL.
func (t *Transport) below(u *url.URL) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(u.EscapedPath(), strings.TrimSuffix(t.server.EscapedPath(), "/")), "/")
}

const idempotencyKey = "Idempotency-Key"

// prepare copies the request, which a RoundTripper must not change, and adds
// the user agent. An order gets an Idempotency-Key, the same for all attempts,
// so that it is placed once.
func (t *Transport) prepare(request *http.Request, op *operation) *http.Request {
	request = request.Clone(request.Context())
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", t.options.UserAgent)
	}
	if op.method == http.MethodPost && op.pattern == "/v1/orders" && request.Header.Get(idempotencyKey) == "" {
		request.Header.Set(idempotencyKey, rand.Text())
	}
	return request
}

// send makes attempt n. Its timeout and its slots end with the response's body.
// A stream of events has no timeout.
func (t *Transport) send(request *http.Request, c *call, n int) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	ended := sync.OnceFunc(func() { t.pacer.end(c, true) })
	timer := time.AfterFunc(t.options.Timeout, func() {
		cancel(errTimeout)
		ended() // also if nobody closes the body
	})
	end := func() {
		timer.Stop()
		cancel(nil)
		ended()
	}
	response, err := t.sendOnce(request.Clone(ctx), n)
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errTimeout
		}
		end()
		return nil, err
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") || response.StatusCode == http.StatusSwitchingProtocols {
		timer.Stop()
	}
	response.Body = watch(response.Body, end)
	return response, nil
}

func (t *Transport) sendOnce(request *http.Request, n int) (*http.Response, error) {
	request.Header.Set("Authorization", "Bearer "+t.key)
	if n > 1 && request.GetBody != nil { // the body has been read
		body, err := request.GetBody()
		if err != nil {
			return nil, err
		}
		request.Body = body
	}
	return t.options.Base.RoundTrip(request)
}

var errTimeout = fmt.Errorf("no response within the timeout: %w", os.ErrDeadlineExceeded)

// watched is a body that calls end when it has been read, has failed, or is
// closed.
type watched struct {
	io.ReadCloser
	end func()
}

// watch wraps a body. The body of a 101 is the connection and stays writable.
func watch(body io.ReadCloser, end func()) io.ReadCloser {
	w := &watched{ReadCloser: body, end: end}
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
		w.end()
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	w.end()
	return err
}
