package testkit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// EventStream is an open stream of Server-Sent Events.
type EventStream struct {
	*Response
	t      testing.TB
	body   io.Closer
	reader *bufio.Reader
}

// Message is one message of an EventStream. A comment is one, too.
type Message struct{ ID, Event, Data, Retry, Comment string }

// Stream sends GET path for a stream of events. It has no timeout of its own.
func (c *Client) Stream(path string, header ...string) *EventStream {
	c.t.Helper()
	request := c.request(path, append(header, "Accept", "text/event-stream")...)
	received, err := (&http.Client{Transport: c.http.Transport}).Do(request)
	if err != nil {
		c.t.Fatalf("stream %s: %v", path, err)
	}
	c.t.Cleanup(func() { _ = received.Body.Close() })
	response := &Response{t: c.t, call: "GET " + path, Status: received.StatusCode, Header: received.Header}
	if received.StatusCode != http.StatusOK {
		response.Body, _ = io.ReadAll(received.Body)
	}
	c.check(request, nil, response)
	return &EventStream{response, c.t, received.Body, bufio.NewReader(received.Body)}
}

func (c *Client) request(path string, header ...string) *http.Request {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	return request
}

// Next reads a message. Error: io.EOF when the server has ended the stream.
func (s *EventStream) Next() (m Message, err error) {
	for {
		line, err := s.reader.ReadString('\n')
		if err != nil {
			return m, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return m, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			m.ID = value
		case "event":
			m.Event = value
		case "data":
			m.Data += value
		case "retry":
			m.Retry = value
		case "":
			m.Comment = value
		default:
			s.t.Errorf("unexpected line %q", line)
		}
	}
}

// Close hangs up.
func (s *EventStream) Close() { _ = s.body.Close() }

// Dial opens a WebSocket. A refused handshake returns the response; a nil WebSocket
// and response: no answer. Its requests are checked against the description.
func (c *Client) Dial(path string, header ...string) (*websocket.Conn, *Response) {
	c.t.Helper()
	request := c.request(path, header...)
	conn, received, err := websocket.Dial(c.t.Context(), request.URL.String(), &websocket.DialOptions{ //nolint:bodyclose // the library replaces the body
		HTTPHeader: request.Header, HTTPClient: &http.Client{Transport: c.http.Transport},
	})
	if received == nil {
		c.t.Fatalf("dial %s: %v", path, err)
	}
	response := &Response{t: c.t, call: "GET " + path, Status: received.StatusCode, Header: received.Header}
	if err == nil {
		c.t.Cleanup(func() { _ = conn.CloseNow() })
	} else if response.Body, err = io.ReadAll(received.Body); err != nil {
		c.t.Fatalf("dial %s: %v", path, err)
	}
	c.check(request, nil, response)
	return conn, response
}

// ReadFrame reads a text frame. Error: a websocket.CloseError.
func ReadFrame(ctx context.Context, conn *websocket.Conn) (string, error) {
	kind, data, err := conn.Read(ctx)
	if err == nil && kind != websocket.MessageText {
		err = errors.New("got a binary frame")
	}
	return string(data), err
}
