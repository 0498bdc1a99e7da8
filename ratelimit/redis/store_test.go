package redis_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/redis"
	"ratelimiter/ratelimit/storetest"
)

// connect returns a client that is closed at the end of the test.
func connect(t testing.TB, url string) rueidis.Client {
	t.Helper()
	client, err := redis.Connect(url, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// stores returns a factory of stores that share servers and have keys of their own.
func stores(t *testing.T, url string) storetest.Factory {
	client := connect(t, url)
	var number atomic.Int64
	return func(_ *testing.T, now func() time.Time) ratelimit.Store {
		return redis.New(client, redis.WithClock(now), redis.WithPrefix(strconv.FormatInt(number.Add(1), 10)+":"))
	}
}

func TestStore_conformance(t *testing.T) {
	for _, server := range []struct {
		name string
		url  func(*testing.T) string
	}{
		{"redis", func(t *testing.T) string { return testkit.Redis(t).URL() }},
		{"valkey", func(t *testing.T) string { return testkit.Valkey(t).URL() }},
		{"cluster", func(t *testing.T) string { return testkit.NewRedisCluster(t).URL() }},
		{"sentinel", func(t *testing.T) string { return testkit.NewRedisSentinels(t).URL() }},
	} {
		t.Run(server.name, func(t *testing.T) {
			factory := stores(t, server.url(t))
			storetest.Run(t, factory)
			t.Run("linearizable", func(t *testing.T) { storetest.RunLinearizable(t, factory) })
		})
	}
}
