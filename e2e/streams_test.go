package e2e

import (
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/events"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// follower is a key with an order and a stream of it.
type follower struct {
	*testApp
	caller *testkit.Client
	key    string
	owner  string
	order  models.Order
}

func newFollower(t *testing.T, spec models.NewKey, options ...appOption) *follower {
	t.Helper()
	app := newApp(t, append(options, watching())...)
	spec.Owner = cmp.Or(spec.Owner, "follower")
	spec.Scopes = append(spec.Scopes, models.ScopeOrdersRead, models.ScopeOrdersWrite)
	if spec.Plan == "" {
		spec.Plan = "internal"
	}
	f := &follower{testApp: app, key: app.key(spec), owner: spec.Owner}
	f.caller = app.As(f.key)
	f.caller.Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&f.order)
	return f
}

// append appends an event to the order, as another instance does.
func (f *follower) append(types ...models.EventType) {
	f.t.Helper()
	err := postgres.InTx(f.t.Context(), f.db, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for _, typ := range types {
			events.Append(batch, f.order.ID, f.owner, events.New{Type: typ})
		}
		batch.Queue(`SELECT pg_notify('ratelimiter_events', 'another instance' || E'\n' || $1 || E'\t' || $2)`, f.owner, f.order.ID)
		return tx.SendBatch(f.t.Context(), batch).Close()
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) cancelOrder() { f.t.Helper(); f.append(models.EventOrderCancelled) }

func (f *follower) path() string { return "/v1/orders/" + f.order.ID + "/events" }

// nextEvent returns the next message of a stream that isn't a comment.
func nextEvent(t *testing.T, s *testkit.EventStream) testkit.Message {
	t.Helper()
	for {
		m, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Event != "" {
			return m
		}
	}
}

func TestSSE_events(t *testing.T) {
	f := newFollower(t, models.NewKey{})
	s := f.caller.Stream(f.path(), "Accept-Encoding", "gzip")
	if s.Want(http.StatusOK).Header.Get("Content-Encoding") != "" {
		t.Errorf("got header %v; want no compression", s.Header)
	}
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
		if got := s.Header.Get(name); got != want {
			t.Errorf("got %s %q; want %q", name, got, want)
		}
	}
	if first, err := s.Next(); err != nil || !regexp.MustCompile(`^[1-5]\d{3}$`).MatchString(first.Retry) {
		t.Errorf("got %+v, error %v; want a retry first", first, err)
	}
	placed := nextEvent(t, s)
	f.cancelOrder()
	cancelled := nextEvent(t, s)
	for i, m := range []testkit.Message{placed, cancelled} {
		var event models.Event
		if err := json.Unmarshal([]byte(m.Data), &event); err != nil {
			t.Fatal(err)
		}
		if event.Seq != int64(i+1) || event.Cursor != m.ID || string(event.Type) != m.Event || event.OrderID != f.order.ID {
			t.Errorf("got message %+v", m)
		}
	}
	t.Run("resume by Last-Event-ID before after", func(t *testing.T) {
		s := f.caller.Stream(f.path()+"?after="+cancelled.ID, "Last-Event-ID", placed.ID)
		if got := nextEvent(t, s); got.ID != cancelled.ID {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("resume by after", func(t *testing.T) {
		s := f.caller.Stream(f.path() + "?types=order.cancelled&after=" + placed.ID)
		if got := nextEvent(t, s); got.ID != cancelled.ID {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("owner's feed", func(t *testing.T) {
		s := f.caller.Stream("/v1/events")
		first, second := nextEvent(t, s), nextEvent(t, s)
		if first.Event != "order.placed" || second.Event != "order.cancelled" {
			t.Errorf("got %+v, %+v", first, second)
		}
	})
	t.Run("JSON is the default", func(t *testing.T) {
		for _, accept := range []string{"", "*/*", "application/json, text/event-stream;q=0.5"} {
			f.caller.Get(f.path(), "Accept", accept).Want(http.StatusOK).JSON(new(models.EventPage))
		}
		f.caller.Get(f.path(), "Accept", "text/plain").Want(http.StatusNotAcceptable)
	})
	t.Run("HEAD", func(t *testing.T) {
		if got := f.caller.Do(http.MethodHead, f.path(), nil, "Accept", "text/event-stream").Want(http.StatusOK).Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("got Content-Type %q", got)
		}
	})
}

func TestSSE_refusals(t *testing.T) {
	f := newFollower(t, models.NewKey{})
	other := f.caller2()
	for name, test := range map[string]struct {
		caller *testkit.Client
		path   string
		header []string
		status int
		code   string
	}{
		"another owner's order": {other, f.path(), nil, 404, "not_found"},
		"no cursor":             {f.caller, f.path() + "?after=x", nil, 422, "invalid_input"},
		"no cursor in the header": {
			f.caller, f.path(), []string{"Last-Event-ID", "x"}, 422, "invalid_input",
		},
		"unknown parameter": {f.caller, f.path() + "?ticket=x", nil, 422, "invalid_input"},
		"unknown type":      {f.caller, "/v1/events?types=order.eaten", nil, 422, "invalid_input"},
		"no key":            {f.Client, "/v1/events", nil, 401, "key_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.caller.Stream(test.path, test.header...)
			if got.Status != test.status || !strings.Contains(string(got.Body), `"code":"`+test.code+`"`) {
				t.Errorf("got %d %s; want %d %s", got.Status, got.Body, test.status, test.code)
			}
		})
	}
	t.Run("the fault of a cursor is where it was sent", func(t *testing.T) {
		for where, got := range map[string]*testkit.Response{
			`"location":"header","pointer":"Last-Event-ID"`: f.caller.Stream(f.path()+"?after=x", "Last-Event-ID", "y").Response,
			`"location":"query","pointer":"after"`:          f.caller.Stream(f.path() + "?after=x").Response,
		} {
			if !strings.Contains(string(got.Body), where) {
				t.Errorf("got %s; want %s", got.Body, where)
			}
		}
	})
	t.Run("expired cursor", func(t *testing.T) {
		var page models.EventPage
		f.caller.Get(f.path()).Want(http.StatusOK).JSON(&page)
		f.cancelOrder()
		f.exec(`DELETE FROM order_events`)
		f.exec(`UPDATE orders SET events_deleted = 2`)
		for _, got := range []*testkit.Response{f.caller.Stream(f.path(), "Last-Event-ID", page.NextCursor).Response, f.refused(f.path() + "/ws?after=" + page.NextCursor)} {
			if got.Status != http.StatusGone || !strings.Contains(string(got.Body), `"next_cursor":"`) {
				t.Errorf("got %d %s; want 410 with a cursor", got.Status, got.Body)
			}
		}
	})
}

// caller2 returns a client of another owner.
func (f *follower) caller2() *testkit.Client { return f.testApp.caller("internal") }

// refused opens a WebSocket, which must fail.
func (f *follower) refused(path string, header ...string) *testkit.Response {
	f.t.Helper()
	conn, response := f.caller.Dial(path, header...)
	if conn != nil {
		f.t.Errorf("%s: the WebSocket was opened", path)
	}
	return response
}

// socket opens a WebSocket.
func (f *follower) socket(path string, header ...string) *websocket.Conn {
	f.t.Helper()
	return open(f.t, f.caller, path, header...)
}

func open(t testing.TB, caller *testkit.Client, path string, header ...string) *websocket.Conn {
	t.Helper()
	conn, response := caller.Dial(path, header...)
	if conn == nil {
		t.Fatalf("%s: %d %s", path, response.Status, response.Body)
	}
	return conn
}

// nextFrame returns the event in the next frame.
func nextFrame(t testing.TB, conn *websocket.Conn) (event models.Event) {
	t.Helper()
	text, err := testkit.ReadFrame(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &event); err != nil {
		t.Fatal(err)
	}
	return event
}

func TestWebSocket_events(t *testing.T) {
	f := newFollower(t, models.NewKey{})
	conn := f.socket(f.path()+"/ws", "Accept-Encoding", "gzip")
	placed := nextFrame(t, conn)
	f.cancelOrder()
	cancelled := nextFrame(t, conn)
	if placed.Seq != 1 || cancelled.Seq != 2 || cancelled.Type != models.EventOrderCancelled || cancelled.OrderID != f.order.ID {
		t.Errorf("got %+v, %+v", placed, cancelled)
	}
	for _, path := range []string{f.path() + "/ws?after=" + placed.Cursor, "/v1/events/ws?types=order.cancelled"} {
		if got := nextFrame(t, f.socket(path)); got.Seq != 2 {
			t.Errorf("%s: got %+v", path, got)
		}
	}
	t.Run("a message of the client", func(t *testing.T) {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		_, err := testkit.ReadFrame(t.Context(), conn)
		if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("got %v; want 1008", err)
		}
	})
}

func TestWebSocket_refusals(t *testing.T) {
	f := newFollower(t, models.NewKey{}, withOrigins("https://shop.example", "http://[::1]:3000"))
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13"}
	for name, test := range map[string]struct {
		response *testkit.Response
		status   int
		code     string
	}{
		"no handshake":          {f.caller.Get("/v1/events/ws"), 426, "upgrade_required"},
		"HEAD":                  {f.caller.Do(http.MethodHead, "/v1/events/ws", nil), 426, ""},
		"no key of a handshake": {f.caller.Get("/v1/events/ws", upgrade...), 400, "malformed_request"},
		"other origin":          {f.refused("/v1/events/ws", "Origin", "https://evil.example"), 403, "origin_not_allowed"},
		"other scheme":          {f.refused("/v1/events/ws", "Origin", "http://shop.example"), 403, "origin_not_allowed"},
		"no origin":             {f.refused("/v1/events/ws", "Origin", "null"), 403, "origin_not_allowed"},
		"unknown order":         {f.refused("/v1/orders/none/events/ws"), 404, "not_found"},
		"unknown parameter":     {f.refused("/v1/events/ws?limit=1"), 422, "invalid_input"},
	} {
		if test.response.Status != test.status || !strings.Contains(string(test.response.Body), test.code) {
			t.Errorf("%s: got %d %s; want %d %s", name, test.response.Status, test.response.Body, test.status, test.code)
		}
	}
	for _, origin := range []string{"https://shop.example", "http://[::1]:3000", f.Base()} {
		_ = f.socket("/v1/events/ws", "Origin", origin)
	}
	f.await("no refused WebSocket is counted as open", func() bool { return strings.Contains(f.metrics(), "ratelimiter_event_streams_open 3\n") })
}

func TestTickets(t *testing.T) {
	f := newFollower(t, models.NewKey{})
	ticket := func() string {
		t.Helper()
		var ticket models.Ticket
		f.caller.Post("/v1/tickets", nil).Want(http.StatusCreated).JSON(&ticket)
		return ticket.Ticket
	}
	path := func(ticket string) string { return f.path() + "/ws?ticket=" + ticket }
	once := ticket()
	if got := nextFrame(t, open(t, f.Client, path(once))); got.Seq != 1 {
		t.Errorf("got %+v", got)
	}
	want := func(status int, code string, caller *testkit.Client, path string) {
		t.Helper()
		conn, got := caller.Dial(path)
		if conn != nil || got.Status != status || !strings.Contains(string(got.Body), code) {
			t.Errorf("got %d %s; want %d %s", got.Status, got.Body, status, code)
		}
	}
	want(401, "ticket_invalid", f.Client, path(once))
	want(401, "ticket_invalid", f.Client, path("tkt_x"))
	want(401, "key_missing", f.Client, path(""))
	want(401, "key_repeated", f.caller, path(ticket()))
	want(401, "key_missing", f.Client, f.path()+"?ticket="+ticket())
	anothers := ticket()
	want(404, "not_found", f.Client, "/v1/orders/none/events/ws?ticket="+anothers)
	late := ticket()
	f.admin().Post("/v1/admin/keys/"+idOf(f.key)+"/suspend", nil).Want(http.StatusOK)
	want(403, "key_suspended", f.Client, path(late))
	f.admin().Post("/v1/admin/keys/"+idOf(f.key)+"/resume", nil).Want(http.StatusOK)
	late = ticket()
	f.admin().Post("/v1/admin/keys/"+idOf(f.key)+"/revoke", nil).Want(http.StatusOK)
	want(401, "ticket_invalid", f.Client, path(late))
	if log := f.log.String(); strings.Contains(log, "tkt_") {
		t.Error("a ticket is in the log")
	}
	var used []int64
	rows, err := f.db.Query(t.Context(), `SELECT count(*) FROM tickets`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		used = append(used, n)
	}
	if !slices.Equal(used, []int64{2}) {
		t.Errorf("%v tickets are left; want the two that weren't redeemed", used)
	}
}
