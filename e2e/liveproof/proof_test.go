package liveproof

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ratelimiter/models"
)

// maxMore is how many more goroutines servers may have than just after their start:
// those of pools that grow with use. Each stream has two.
const maxMore = 60

// TestProof follows orders and owners' feeds by many clients in all ways, while the
// connections that listen are terminated, servers are killed and clients hang up.
// Every client must get every event once, each order's in order, and all clients of a
// feed in the same order. make proof-live does it with 100 terminations.
func TestProof(t *testing.T) {
	s := openShop(t, 2, 10)
	goroutines := s.goroutines()
	clients := s.newClients(*proofClients)
	ctx, stopClients := context.WithCancel(t.Context())
	defer stopClients()
	faults := make(chan error, len(clients))
	for _, c := range clients {
		go func() { faults <- c.run(ctx) }()
	}
	began := time.Now()
	writing, stopWriting := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	writers.Go(func() { s.write(writing) })
	terminated := s.disturb(*proofTerminations, *proofKills)
	stopWriting()
	writers.Wait()
	disturbed := time.Since(began)
	expected := map[models.EventStream]int64{}
	for _, c := range clients {
		expected[c.stream] = s.count(c.stream)
	}
	s.awaitAll(clients, expected, faults)
	received := time.Since(began)
	stopClients()
	for range clients {
		if err := <-faults; err != nil {
			t.Error(err)
		}
	}
	feeds, connected := map[string][]string{}, 0
	for _, c := range clients {
		connected += c.connected
		if got := c.total.Load(); got != expected[c.stream] {
			t.Errorf("%s of %v: got %d of %d events", c.way, c.stream, got, expected[c.stream])
		}
		c.take = c.check
		if n, err := c.page(t.Context(), s.servers[0].base, ""); err != nil || n != 0 {
			t.Errorf("%s of %v: %d more events, error %v", c.way, c.stream, n, err)
		}
		if c.stream.Order != "" {
			continue
		}
		if other := feeds[c.stream.Owner]; other != nil && !slices.Equal(other, c.order) {
			t.Errorf("two clients got the feed of %s in different orders", c.stream.Owner)
		}
		feeds[c.stream.Owner] = c.order
	}
	http.DefaultClient.CloseIdleConnections()
	clients[0].http.CloseIdleConnections()
	await(t, "no stream is open, and no goroutine is left", func() bool {
		return !slices.ContainsFunc(s.servers, func(s *server) bool { return s.metric("ratelimiter_event_streams_open") != 0 }) && s.goroutines() <= goroutines+maxMore
	})
	t.Logf("%d clients connected %d times; %d terminations, %d kills in %s, all received after %s; feeds of %d and %d events; goroutines: %.0f before, %.0f after",
		len(clients), connected, terminated, *proofKills, disturbed.Round(time.Second), received.Round(time.Second), len(feeds["ann"]), len(feeds["bob"]), goroutines, s.goroutines())
}

// newClients returns clients of all ways, a third of them of owners' feeds.
func (s *shop) newClients(n int) (list []*client) {
	transport := &http.Transport{MaxIdleConnsPerHost: n}
	for i := range n {
		stream := s.orders[rand.N(len(s.orders))]
		if i/len(ways)%3 == 0 {
			stream.Order = ""
		}
		c := &client{way: ways[i%len(ways)], shop: s, seen: map[string]int64{}}
		c.follower = follower{http: &http.Client{Transport: transport}, key: s.keys[stream.Owner], stream: stream}
		list = append(list, c)
	}
	return list
}

// disturb terminates connections that listen, and kills servers, in turns; it returns
// how many were terminated.
func (s *shop) disturb(terminations, kills int) (terminated int) {
	s.t.Helper()
	killed := 0
	for terminated < terminations || killed < kills {
		time.Sleep(100*time.Millisecond + rand.N(200*time.Millisecond))
		if terminated < terminations {
			var n int
			err := s.db.QueryRow(s.t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name LIKE 'ratelimiter listens to %'`).Scan(&n)
			if err != nil {
				s.t.Error(err)
			}
			terminated += n
		}
		if killed < kills && killed*terminations <= terminated*kills {
			killed++
			victim := s.servers[rand.N(len(s.servers))]
			victim.kill()
			victim.start()
			victim.awaitReady()
		}
	}
	return terminated
}

// awaitAll waits until all clients have got all events, or one has a fault.
func (s *shop) awaitAll(clients []*client, expected map[models.EventStream]int64, faults chan error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && len(faults) == 0; time.Sleep(20 * time.Millisecond) {
		if !slices.ContainsFunc(clients, func(c *client) bool { return c.total.Load() < expected[c.stream] }) {
			return
		}
	}
}

// goroutines returns the number of goroutines of all servers.
func (s *shop) goroutines() (sum float64) {
	for _, server := range s.servers {
		sum += server.metric("go_goroutines")
	}
	return sum
}

// brokenFeeds break the database in one respect each, which is as if the product were
// broken.
var brokenFeeds = map[string]string{
	"reads what is committed: id > cursor": `
		CREATE FUNCTION public.pg_snapshot_xmin(pg_snapshot) RETURNS xid8 LANGUAGE sql STABLE AS 'SELECT pg_snapshot_xmax($1)';
		ALTER ROLE CURRENT_USER IN DATABASE "NAME" SET search_path = public, pg_catalog`,
	"ordered by transaction id alone": `
		CREATE FUNCTION by_transaction() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN NEW.feed := (SELECT epoch << 48 FROM event_epoch) + pg_current_xact_id()::text::bigint; RETURN NEW; END';
		CREATE TRIGGER by_transaction BEFORE INSERT ON order_events FOR EACH ROW EXECUTE FUNCTION by_transaction()`,
}

// The proof finds the faults of feeds that lose or reverse events.
func TestProof_catches(t *testing.T) {
	for name, sql := range brokenFeeds {
		t.Run(name, func(t *testing.T) {
			s := openShop(t, 0, 3)
			s.exec(strings.ReplaceAll(sql, "NAME", s.db.Config().ConnConfig.Database))
			s.servers = []*server{newServer(t, s.db.Config().ConnString())}
			clients := s.newClients(48)
			ctx, stop := context.WithTimeout(t.Context(), patience)
			defer stop()
			faults := make(chan error, len(clients))
			for _, c := range clients {
				go func() { faults <- c.run(ctx) }()
			}
			var writers sync.WaitGroup
			writers.Go(func() { s.write(ctx) })
			err := <-faults
			stop()
			writers.Wait()
			if err == nil {
				t.Error("not caught")
			}
			t.Log(err)
		})
	}
}
