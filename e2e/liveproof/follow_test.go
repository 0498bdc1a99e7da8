package liveproof

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"ratelimiter/models"
)

// way is a way to follow a stream of events.
type way string

const (
	polling   way = "polling"
	longPoll  way = "long polling"
	sse       way = "SSE"
	webSocket way = "WebSocket"
)

var ways = []way{polling, longPoll, sse, webSocket}

// follower follows a stream of events by one way.
type follower struct {
	http   *http.Client
	key    string
	stream models.EventStream
	take   func(e *models.Event) error
	after  string // cursor
}

// path returns the path of the stream's events.
func (f *follower) path() string {
	if f.stream.Order == "" {
		return "/v1/events"
	}
	return "/v1/orders/" + f.stream.Order + "/events"
}

// get sends a request and returns the response, which has the status 200.
func (f *follower) get(ctx context.Context, url string, header ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+f.key)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := f.http.Do(request)
	if err == nil && response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		err = fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	return response, err
}

// page requests a page of events, and returns their number.
func (f *follower) page(ctx context.Context, base, query string) (int, error) {
	response, err := f.get(ctx, base+f.path()+"?limit=100&after="+f.after+query)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	var page models.EventPage
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		return 0, err
	}
	for i := range page.Data {
		if err := f.take(&page.Data[i]); err != nil {
			return 0, err
		}
	}
	f.after = page.NextCursor
	return len(page.Data), nil
}

// events reads Server-Sent Events until the stream ends or take fails.
func (f *follower) events(ctx context.Context, base string) error {
	header := []string{"Accept", "text/event-stream"}
	if f.after != "" {
		header = append(header, "Last-Event-ID", f.after)
	}
	response, err := f.get(ctx, base+f.path(), header...)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	id := ""
	for lines := bufio.NewReader(response.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		switch name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); name {
		case "id":
			id = value
		case "data":
			if err := f.one([]byte(value), id); err != nil {
				return err
			}
		}
	}
}

// frames reads the frames of a WebSocket until it ends or take fails.
func (f *follower) frames(ctx context.Context, base string) error {
	conn, _, err := websocket.Dial(ctx, base+f.path()+"/ws?after="+f.after, &websocket.DialOptions{ //nolint:bodyclose // the library replaces the body
		HTTPHeader: http.Header{"Authorization": {"Bearer " + f.key}}, HTTPClient: f.http,
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if err := f.one(data, ""); err != nil {
			return err
		}
	}
}

// one takes an event of a stream, whose cursor must be id unless that is empty.
func (f *follower) one(data []byte, id string) error {
	var event models.Event
	if err := json.Unmarshal(data, &event); err != nil {
		return err
	}
	if id != "" && id != event.Cursor {
		return errors.New("the id isn't the event's cursor")
	}
	f.after = event.Cursor
	return f.take(&event)
}
