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

// callTimeout bounds one call: an answer that never comes fails the test.
const callTimeout = 30 * time.Second

// Client calls a server as a caller with an API key does. It checks every
// exchange against the API's description: what isn't described fails the test.
// It may be used from any goroutine of its test.
type Client struct {
	t       testing.TB
	base    string
	key     string
	http    *http.Client
	outside string // why exchanges aren't checked; "": they are
}

// Serve runs handler on a free port of the loopback interface until the test
// ends, and returns a client of it without a key.
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

// Base is the server's address, such as http://127.0.0.1:8080.
func (c *Client) Base() string { return c.base }

// As returns a client that sends key as its bearer token.
func (c *Client) As(key string) *Client {
	other := *c
	other.key = key
	return &other
}

// Undescribed returns a client whose exchanges aren't checked against the
// description, for the reason given: a server that isn't the API, or answers
// that another party makes.
func (c *Client) Undescribed(reason string) *Client {
	c.t.Helper()
	if reason == "" {
		c.t.Fatal("say why the exchanges are none of the description's")
	}
	other := *c
	other.outside = reason
	return &other
}

// Get calls GET path.
func (c *Client) Get(path string, header ...string) *Response {
	c.t.Helper()
	return c.Do(http.MethodGet, path, nil, header...)
}

// Post calls POST path with a JSON body: a string or []byte as it is, and
// anything else marshalled.
func (c *Client) Post(path string, body any, header ...string) *Response {
	c.t.Helper()
	return c.Do(http.MethodPost, path, body, header...)
}

// Do calls the server. header is names and values in turn; a name may come
// again. A body is sent as JSON unless header says otherwise.
func (c *Client) Do(method, path string, body any, header ...string) *Response {
	c.t.Helper()
	sent := c.bytes(body)
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, reader(sent))
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
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	answer := &Response{t: c.t, call: method + " " + path, Status: response.StatusCode, Header: response.Header, Body: data}
	c.check(request, sent, answer)
	return answer
}

// bytes is a body as it is sent; nil for none.
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

// reader is nil for no body: an empty one would be announced.
func reader(body []byte) io.Reader {
	if body == nil {
		return nil
	}
	return bytes.NewReader(body)
}

// Response is what came back.
type Response struct {
	Status int
	Header http.Header
	Body   []byte

	t    testing.TB
	call string
}

// Want fails the test unless the answer has this status.
func (a *Response) Want(status int) *Response {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("%s: status %d, want %d; %s", a.call, a.Status, status, a.Body)
	}
	return a
}

// JSON decodes the body into out, strictly: a field that out doesn't know
// fails the test.
func (a *Response) JSON(out any) {
	a.t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(a.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		a.t.Fatalf("%s: %v in %s", a.call, err, a.Body)
	}
}
