package redisfacts_test

import (
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/redisfacts"
	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit/redis"
)

// good is a server without faults.
func good() redisfacts.Facts {
	return redisfacts.Facts{Name: "Redis", Version: "7.0.15", Eviction: "noeviction", AOF: true}
}

func TestFacts_Warnings(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*redisfacts.Facts)
		want   string // the warning begins with it; empty: none
	}{
		{"good", func(*redisfacts.Facts) {}, ""},
		{"old", func(f *redisfacts.Facts) { f.Version = "6.2.14" }, "Redis 6.2.14 has no functions"},
		{"unknown_version", func(f *redisfacts.Facts) { f.Version = "" }, "Redis  has no functions"},
		{"new", func(f *redisfacts.Facts) { f.Version = "10.1" }, ""},
		{"valkey", func(f *redisfacts.Facts) { f.Name, f.Version = "Valkey", "8.0.1" }, ""},
		{"lru", func(f *redisfacts.Facts) { f.Eviction = "allkeys-lru" }, "maxmemory-policy is allkeys-lru"},
		{"volatile", func(f *redisfacts.Facts) { f.Eviction = "volatile-ttl" }, "maxmemory-policy is volatile-ttl"},
		{"no_aof", func(f *redisfacts.Facts) { f.AOF = false }, "appendonly is off"},
		{"no_aof_but_replica", func(f *redisfacts.Facts) { f.AOF, f.Replicas, f.MinReplicas = false, 1, true }, ""},
		{"replica", func(f *redisfacts.Facts) { f.Replicas = 1 }, "min-replicas-to-write is not set"},
		{"clock", func(f *redisfacts.Facts) { f.ClockAhead = -time.Hour }, "the clock differs from this machine's by -1h"},
		{"slow_answer", func(f *redisfacts.Facts) { f.ClockAhead, f.ClockError = 2*time.Second, 3*time.Second }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good()
			c.change(&f)
			got := strings.Join(f.Warnings(), "; ")
			if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestInspect(t *testing.T) {
	server := testkit.Redis(t, "--appendonly", "yes", "--maxmemory-policy", "volatile-lru", "--min-replicas-to-write", "1")
	client, err := redis.Connect(server.URL(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	list, err := redisfacts.Inspect(t.Context(), client)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	f := list[0]
	if f.Name != "Redis" || f.Version == "" || f.Eviction != "volatile-lru" || !f.AOF || !f.MinReplicas || f.Addr != server.Addr() || f.ClockAhead.Abs() > time.Second+f.ClockError {
		t.Errorf("got %+v", f)
	}
	server.Kill()
	if list, err := redisfacts.Inspect(t.Context(), client); err == nil {
		t.Errorf("got %+v of a server that is down", list)
	}
}
