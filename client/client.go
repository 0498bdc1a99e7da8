package client

import (
	"net/http"
	"time"
)

// Client calls the API. It is safe for concurrent use; make one for a key and
// keep it, for it remembers where the key stands.
type Client struct {
	// Raw is the same operations with plain answers, for who needs a header
	// field or a stream. It is paced too; whoever calls it closes the body.
	Raw *Raw
}

// New returns a client for the API at baseURL, such as
// "https://api.example.com". Nothing is sent until the first request. The error
// says what is wrong with baseURL or the key.
func New(baseURL, key string, options ...Option) (*Client, error) {
	transport := newSettings(options).transport
	if transport == nil {
		var err error
		if transport, err = NewTransport(baseURL, key, options...); err != nil {
			return nil, err
		}
	}
	raw, err := NewRaw(baseURL, WithDoer(&http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the API has none, and the key is for it alone
		},
	}))
	if err != nil {
		return nil, err
	}
	return &Client{Raw: raw}, nil
}

// Option is a choice about a client or a transport.
type Option func(*settings)

type settings struct {
	base         http.RoundTripper
	transport    *Transport
	userAgent    string
	timeout      time.Duration
	longestWait  time.Duration
	longestQueue int
	attempts     int
}

// The defaults.
const (
	defaultUserAgent    = "ratelimiter-go/1"
	defaultTimeout      = 45 * time.Second // the server's longest answer is a long poll of 30 s
	defaultLongestWait  = 2 * time.Minute  // as long as the wait for a minute's window, twice
	defaultLongestQueue = 1000
	defaultAttempts     = 5
)

func newSettings(options []Option) settings {
	s := settings{
		base: http.DefaultTransport, userAgent: defaultUserAgent, timeout: defaultTimeout,
		longestWait: defaultLongestWait, longestQueue: defaultLongestQueue, attempts: defaultAttempts,
	}
	for _, option := range options {
		option(&s)
	}
	return s
}

// WithTransport makes clients of one key share where it stands. The other
// options are the transport's then, and have no effect here.
func WithTransport(t *Transport) Option { return func(s *settings) { s.transport = t } }

// WithBase sets what sends the paced requests; default http.DefaultTransport.
func WithBase(base http.RoundTripper) Option { return func(s *settings) { s.base = base } }

// WithUserAgent says who calls; default "ratelimiter-go/1".
func WithUserAgent(name string) Option { return func(s *settings) { s.userAgent = name } }

// WithTimeout bounds each try, from its sending until its answer was read, apart
// from streams of events; default 45 s. The waiting before is bounded by
// WithLongestWait and the context.
func WithTimeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// WithLongestWait bounds how long a request waits until it is sent, all tries
// together; default 2 minutes. One that can't be sent by then fails with a
// *WaitError as soon as that is known.
func WithLongestWait(d time.Duration) Option { return func(s *settings) { s.longestWait = d } }

// WithLongestQueue bounds how many requests wait at once; default 1000. Further
// ones fail with a *WaitError.
func WithLongestQueue(n int) Option { return func(s *settings) { s.longestQueue = n } }

// WithMaxAttempts bounds how often a request is sent that fails (503, or no
// answer), the first time included; default 5. Refusals don't count: nothing was
// done, and WithLongestWait bounds them.
func WithMaxAttempts(n int) Option { return func(s *settings) { s.attempts = n } }
