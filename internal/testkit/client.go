package testkit

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// callTimeout bounds one call.
const callTimeout = 30 * time.Second

// Client is an HTTP client of the API. It checks every exchange against the
// OpenAPI description: a difference fails the test. It is safe for concurrent use.
type Client struct {
	t         testing.TB
	base      string
	key       string
	http      *http.Client
	unchecked string // reason why exchanges aren't checked; "": they are
}

// Serve runs handler on a loopback port until the test ends and returns a client
// without a key.
func Serve(t testing.TB, handler http.Handler) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return NewClient(t, server.URL)
}

// NewClient returns a client of the server at base, such as
// http://127.0.0.1:8080, without a key.
func NewClient(t testing.TB, base string) *Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{t: t, base: base, http: &http.Client{
		Timeout: callTimeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Base returns the base URL of the server, such as http://127.0.0.1:8080.
func (c *Client) Base() string { return c.base }

// As returns a client that sends key as its bearer token.
func (c *Client) As(key string) *Client {
	other := *c
	other.key = key
	return &other
}

// Undescribed returns a client that doesn't check exchanges against the
// description. reason is required; for example, the server isn't the API.
func (c *Client) Undescribed(reason string) *Client {
	c.t.Helper()
	if reason == "" {
		c.t.Fatal("Undescribed needs a reason")
	}
	other := *c
	other.unchecked = reason
	return &other
}

// Get sends GET path.
func (c *Client) Get(path string, header ...string) *Response {
	c.t.Helper()
	return c.Do(http.MethodGet, path, nil, header...)
}

// Post sends POST path with a JSON body: a string or []byte unchanged, any other
// value marshalled.
func (c *Client) Post(path string, body any, header ...string) *Response {
	c.t.Helper()
	return c.Do(http.MethodPost, path, body, header...)
}

// Do sends a request. header is names and values in turn; names may be repeated.
// The Content-Type of a body is application/json unless header sets it.
func (c *Client) Do(method, path string, body any, header ...string) *Response {
	c.t.Helper()
	sent := c.bytes(body)
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, bytes.NewReader(sent))
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if strings.EqualFold(header[i], "Content-Type") {
			request.Header.Del(header[i])
		}
		request.Header.Add(header[i], header[i+1])
	}
	received, err := c.http.Do(request)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = received.Body.Close() }()
	data, err := io.ReadAll(received.Body)
	if err != nil {
		c.t.Fatalf("%s %s: read the response: %v", method, path, err)
	}
	response := &Response{t: c.t, call: method + " " + path, Status: received.StatusCode, Header: received.Header, Body: data}
	c.check(request, sent, response)
	return response
}

// bytes encodes a body; nil means no body.
func (c *Client) bytes(body any) []byte {
	switch body := body.(type) {
	case nil:
		return nil
	case string:
		return append([]byte{}, body...)
	case []byte:
		return body
	}
	data, err := json.Marshal(body)
	if err != nil {
		c.t.Fatalf("marshal the body: %v", err)
	}
	return data
}

// Response is a received response.
type Response struct {
	Status int
	Header http.Header
	Body   []byte

	t    testing.TB
	call string
}

// Want fails the test unless the response has this status.
func (r *Response) Want(status int) *Response {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("%s: got status %d; want %d; body %s", r.call, r.Status, status, r.Body)
	}
	return r
}

// JSON decodes the body into out. A field that out doesn't have fails the test.
func (r *Response) JSON(out any) {
	r.t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(r.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		r.t.Fatalf("%s: %v in %s", r.call, err, r.Body)
	}
}
