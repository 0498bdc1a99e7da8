package client

import (
	"cmp"
	"net/http"
	"time"
)

// Client calls the API with one key. It is safe for concurrent use. Create one
// for each key and keep it: it keeps track of the key's quota.
type Client struct {
	// Raw has the same operations with plain responses, for callers who need a
	// header field or a stream. It is paced too. Callers close the bodies.
	Raw *Raw
}

// Options configures a [Client] or a [Transport]. The zero value of each field
// selects its default.
type Options struct {
	// Base sends the requests; default http.DefaultTransport.
	Base http.RoundTripper
	// UserAgent identifies the caller; default "ratelimiter-go/1".
	UserAgent string
	// Timeout bounds each attempt, from sending the request until its response
	// has been read; default 45 s. Streams of events are excepted. Time spent
	// waiting for the quota isn't included.
	Timeout time.Duration
	// MaxWait bounds how long a request waits to be sent, over all attempts;
	// default 2 minutes. A request that can't be sent by then fails with a
	// *WaitError, as soon as that is known.
	MaxWait time.Duration
	// MaxAttempts bounds how often a request is sent that fails, the first time
	// included; default 5. Refusals by the quota don't count.
	MaxAttempts int
}

const (
	defaultUserAgent   = "ratelimiter-go/1"
	defaultTimeout     = 45 * time.Second // the server's slowest response is a long poll of 30 s
	defaultMaxWait     = 2 * time.Minute  // twice the window of a limit per minute
	defaultMaxAttempts = 5
)

func (o *Options) withDefaults() Options {
	filled := Options{}
	if o != nil {
		filled = *o
	}
	filled.Base = cmp.Or(filled.Base, http.DefaultTransport)
	filled.UserAgent = cmp.Or(filled.UserAgent, defaultUserAgent)
	filled.Timeout = cmp.Or(max(filled.Timeout, 0), defaultTimeout)
	filled.MaxWait = cmp.Or(max(filled.MaxWait, 0), defaultMaxWait)
	filled.MaxAttempts = cmp.Or(max(filled.MaxAttempts, 0), defaultMaxAttempts)
	return filled
}

// New returns a client for the API at baseURL, such as
// "https://api.example.com". Options may be nil. Nothing is sent until the
// first request. The error reports a malformed baseURL or a missing key.
func New(baseURL, key string, options *Options) (*Client, error) {
	transport, err := NewTransport(baseURL, key, options)
	if err != nil {
		return nil, err
	}
	raw, err := NewRaw(baseURL, WithDoer(&http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the API never redirects
		},
	}))
	if err != nil {
		return nil, err
	}
	return &Client{Raw: raw}, nil
}
