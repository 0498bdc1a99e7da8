package redis_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/redis"
)

// recovery bounds every wait for servers and client to recover.
const recovery = 30 * time.Second

// caller is a limiter with one policy of 10 units an hour.
type caller struct {
	t       *testing.T
	limiter *ratelimit.Limiter
	quota   *ratelimit.Quota
	store   *redis.Store
}

func newCaller(t *testing.T, client rueidis.Client, key string) *caller {
	t.Helper()
	policies := []ratelimit.Policy{
		{Name: "hour", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "366d"},
		{Name: "owner", Algorithm: ratelimit.SlidingLog, Limit: 100, Period: "366d", Per: ratelimit.PerOwner},
	}
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: key, Owner: key})
	if err != nil {
		t.Fatal(err)
	}
	store := redis.New(client)
	return &caller{t: t, limiter: ratelimit.New(store), quota: quota, store: store}
}

// take takes units within a deadline.
func (c *caller) take(cost int64, within time.Duration) (remaining int64, err error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var r ratelimit.Reservation
	if err := c.limiter.Reserve(ctx, &r, c.quota, "", cost); err != nil {
		return 0, err
	}
	return r.Decision.Statuses()[0].Remaining, nil
}

func (c *caller) want(cost, remaining int64) {
	c.t.Helper()
	if got, err := c.take(cost, recovery); err != nil || got != remaining {
		c.t.Fatalf("a take of %d: %d remaining, error %v, want %d", cost, got, err, remaining)
	}
}

// recover polls until the servers decide again and returns what remains.
func (c *caller) recover() int64 {
	c.t.Helper()
	for deadline := time.Now().Add(recovery); ; time.Sleep(10 * time.Millisecond) {
		remaining, err := c.take(0, time.Second)
		if err == nil {
			return remaining
		}
		if time.Now().After(deadline) {
			c.t.Fatal(err)
		}
	}
}

func TestStore_library_lost(t *testing.T) {
	server := testkit.Redis(t)
	c := newCaller(t, connect(t, server.URL()), "k")
	c.want(1, 9)
	server.Do("FUNCTION", "FLUSH")
	server.Do("SCRIPT", "FLUSH")
	c.want(1, 8)
	server.Do("FUNCTION", "FLUSH")
	c.want(0, 8)
}

func TestStore_restarted(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings []string
		want     int64
	}{
		{"empty", nil, 10},
		{"from_disk", []string{"--appendonly", "yes", "--appendfsync", "always"}, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := testkit.Redis(t, test.settings...)
			c := newCaller(t, connect(t, server.URL()), "k")
			c.want(2, 8)
			server.Kill()
			if _, err := c.take(1, recovery); err == nil {
				t.Fatal("a take of a killed server succeeds")
			}
			server.Start()
			if got := c.recover(); got != test.want {
				t.Fatalf("after the restart: %d remaining, want %d", got, test.want)
			}
			c.want(1, test.want-1)
		})
	}
}

// TestStore_paused calls a server that hangs: the call ends at its deadline.
func TestStore_paused(t *testing.T) {
	server := testkit.Redis(t)
	c := newCaller(t, connect(t, server.URL()), "k")
	c.want(1, 9)
	server.Pause()
	_, err := c.take(3, 50*time.Millisecond)
	server.Continue()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a take of a paused server: %v, want the deadline", err)
	}
	if got := c.recover(); got != 6 && got != 9 { // it may have been read
		t.Fatalf("after the pause: %d remaining, want 6 or 9", got)
	}
	server.Kill()
	server.Start()
	server.Pause() // while the client connects
	for range 3 {
		if _, err := c.take(1, 50*time.Millisecond); err == nil {
			t.Fatal("a take of a paused server succeeds")
		}
	}
	server.Continue()
	c.recover()
}

// TestStore_answer_lost charges, and loses the answer with the connection. The take
// is not repeated, and its units are spent.
func TestStore_answer_lost(t *testing.T) {
	server := testkit.Redis(t)
	proxy := testkit.NewProxy(t, server.Addr())
	c := newCaller(t, connect(t, "redis://"+proxy.Addr()), "k")
	c.want(1, 9)
	before := calls(t, server)
	proxy.HoldResponses()
	result := make(chan error, 1)
	go func() {
		_, err := c.take(3, recovery)
		result <- err
	}()
	for deadline := time.Now().Add(recovery); calls(t, server) == before; {
		if time.Now().After(deadline) {
			t.Fatal("the take doesn't arrive")
		}
	}
	proxy.Cut()
	proxy.ReleaseResponses()
	proxy.Mend()
	if err := <-result; err == nil {
		t.Fatal("a take without an answer succeeds")
	}
	if got := c.recover(); got != 6 {
		t.Fatalf("after a lost answer: %d remaining, want 6", got)
	}
}

// calls returns how often functions were called.
func calls(t *testing.T, server *testkit.RedisServer) int {
	t.Helper()
	_, stats, _ := strings.Cut(server.Do("INFO", "commandstats"), "cmdstat_fcall:calls=")
	count, _, _ := strings.Cut(stats, ",")
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStore_sentinel_promotion(t *testing.T) {
	set := testkit.NewRedisSentinels(t)
	c := newCaller(t, connect(t, set.URL()), "k")
	c.want(4, 6)
	set.Primary.Do("WAIT", "1", "5000")
	set.Primary.Kill()
	set.WaitPromoted()
	if got := c.recover(); got != 6 {
		t.Fatalf("after the promotion: %d remaining, want 6", got)
	}
	c.want(1, 5)
}

func TestStore_cluster(t *testing.T) {
	cluster := testkit.NewRedisCluster(t)
	client := connect(t, cluster.URL())
	t.Run("slot_moved", func(t *testing.T) { slotMoved(t, cluster, client) })
	t.Run("node_lost", func(t *testing.T) { nodeLost(t, cluster, client) })
}

// slotMoved moves the counters of an owner to another node, and asks in between.
func slotMoved(t *testing.T, cluster *testkit.RedisCluster, client rueidis.Client) {
	c := newCaller(t, client, "moved")
	c.want(3, 7)
	from, to, keys := nodeOf(t, cluster)
	slot := from.Do("CLUSTER", "KEYSLOT", keys[0])
	fromID, toID := from.Do("CLUSTER", "MYID"), to.Do("CLUSTER", "MYID")
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	c.want(1, 6) // still there
	_, port, _ := strings.Cut(to.Addr(), ":")
	from.Do(append([]string{"MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"}, keys...)...)
	c.want(1, 5) // asks the other node
	to.Do("CLUSTER", "SETSLOT", slot, "NODE", toID)
	from.Do("CLUSTER", "SETSLOT", slot, "NODE", toID)
	c.want(1, 4) // is sent to the other node
}

// nodeOf returns the node that has keys, and another one.
func nodeOf(t *testing.T, cluster *testkit.RedisCluster) (node, other *testkit.RedisServer, keys []string) {
	for i, node := range cluster.Nodes {
		if keys := node.Do("KEYS", "*"); keys != "" {
			return node, cluster.Nodes[(i+1)%len(cluster.Nodes)], strings.Split(keys, "\n")
		}
	}
	t.Fatal("no node has keys")
	return nil, nil, nil
}

// nodeLost kills a node. The cluster refuses, until it is back.
func nodeLost(t *testing.T, cluster *testkit.RedisCluster, client rueidis.Client) {
	c := newCaller(t, client, "lost")
	c.want(1, 9)
	node := cluster.Nodes[2]
	node.Kill()
	refused := false
	for i := range 100 { // some owner is on the node
		_, err := newCaller(t, client, strings.Repeat("x", i)).take(1, time.Second)
		refused = refused || err != nil
	}
	if !refused {
		t.Fatal("takes of a lost node succeed")
	}
	node.Start()
	cluster.WaitReady()
	c.recover()
	for i := range 20 {
		newCaller(t, client, strings.Repeat("y", i)).recover()
	}
}

func TestConnect(t *testing.T) {
	server := testkit.Redis(t)
	server.Do("CONFIG", "SET", "requirepass", "secret")
	address := server.Addr()
	if _, err := redis.Connect("redis://:wrong@"+address, time.Second); err == nil {
		t.Error("a wrong password is accepted")
	}
	for _, url := range []string{"redis://:secret@" + address + "/1", "redis://default:secret@" + address} {
		client, err := redis.Connect(url, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := redis.New(client).Ping(ctx); err != nil {
			t.Error(err)
		}
		client.Close()
	}
	if _, err := redis.Connect("http://"+address, time.Second); err == nil {
		t.Error("an http URL is accepted")
	}
}

// TestStore_wrong_client_clock calls from a process whose clock is a year off. The
// server's decides, for calendar policies, too.
func TestStore_wrong_client_clock(t *testing.T) {
	store := redis.New(connect(t, testkit.Redis(t).URL()))
	off := func() time.Time { return time.Now().AddDate(-1, 0, 0) }
	limiter := ratelimit.New(store, ratelimit.WithClock(off))
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "day", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Day, TimeZone: "Asia/Tokyo"},
		{Name: "bucket", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "366d"},
	}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	for want := int64(9); want > 6; want-- {
		var r ratelimit.Reservation
		if err := limiter.Reserve(ctx, &r, quota, "", 1); err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Decision.Statuses() {
			if s.Remaining != want || s.Policy.Name == "day" && (s.ResetAfter <= 0 || s.ResetAfter > 24*time.Hour) {
				t.Fatalf("%+v, want %d remaining", s, want)
			}
		}
	}
}
