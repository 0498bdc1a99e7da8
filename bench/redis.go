package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/go-redis/redis_rate/v10"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/goredisstore.v9"
	ulule "github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/redis"
)

const (
	redisRounds  = 20
	redisSlice   = 100 * time.Millisecond // per candidate and round
	redisCallers = 128                    // that decide at once, as in a server with as many open requests
	redisKeys    = 10_000
	redisTimeout = 5 * time.Second
)

// redisCandidate is a rate limiter on Redis.
type redisCandidate struct {
	name string
	open func(redisClients) func(key string) bool
}

// redisClients is the clients of the one server.
type redisClients struct {
	rueidis rueidis.Client
	goredis *goredis.Client
}

// incr is the floor: a counter without a limit.
const incr = "INCR by rueidis, pipelined: no limit"

var redisCandidates = []redisCandidate{
	{incr, func(s redisClients) func(string) bool {
		return func(key string) bool {
			return check(true, s.rueidis.Do(ctx, s.rueidis.B().Incr().Key("incr:"+key).Build()).Error())
		}
	}},
	{"this engine, token_bucket", redisEngine(ratelimit.TokenBucket)},
	{"this engine, fixed_window", redisEngine(ratelimit.FixedWindow)},
	{"this engine, sliding_window", redisEngine(ratelimit.SlidingWindow)},
	{"this engine, all three in one decision", redisEngine(ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow)},
	{"a window in a script by rueidis", scriptedWindow},
	{"go-redis/redis_rate (GCRA)", func(s redisClients) func(string) bool {
		l := redis_rate.NewLimiter(s.goredis)
		limit := redis_rate.Limit{Rate: highLimit, Burst: highLimit, Period: time.Hour}
		return func(key string) bool {
			got, err := l.Allow(ctx, key, limit)
			return check(err == nil && got.Allowed == 1, err)
		}
	}},
	{"throttled (GCRA)", func(s redisClients) func(string) bool {
		store := must(goredisstore.NewCtx(s.goredis, "throttled:"))
		l := must(throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerDuration(highLimit, time.Hour), MaxBurst: highLimit - 1}))
		return func(key string) bool {
			limited, _, err := l.RateLimitCtx(ctx, key, 1)
			return check(!limited, err)
		}
	}},
	{"ulule/limiter (window)", func(s redisClients) func(string) bool {
		store := must(ululeredis.NewStoreWithOptions(s.goredis, ulule.StoreOptions{Prefix: "ulule"}))
		l := ulule.New(store, ulule.Rate{Period: time.Hour, Limit: highLimit})
		return func(key string) bool {
			got, err := l.Get(ctx, key)
			return check(!got.Reached, err)
		}
	}},
}

// redisEngine decides over one policy of each algorithm.
func redisEngine(algorithms ...ratelimit.Algorithm) func(redisClients) func(string) bool {
	return func(s redisClients) func(string) bool {
		var policies []ratelimit.Policy
		prefix := ""
		for _, a := range algorithms {
			policies = append(policies, ratelimit.Policy{Name: string(a), Algorithm: a, Limit: highLimit, Period: "1h"})
			prefix += string(a) + ":"
		}
		l := ratelimit.New(redis.New(s.rueidis, redis.WithPrefix(prefix)))
		plan := must(ratelimit.NewQuota(policies, ratelimit.Subjects{}))
		type scratch struct {
			quota ratelimit.Quota
			r     ratelimit.Reservation
		}
		pool := sync.Pool{New: func() any { return new(scratch) }}
		return func(key string) bool {
			s := pool.Get().(*scratch)
			defer pool.Put(s)
			plan.Bind(&s.quota, ratelimit.Subjects{Key: key})
			return check(true, l.Reserve(ctx, &s.r, &s.quota, "", 1)) && s.r.Decision.Allowed
		}
	}
}

// scriptedWindow counts in windows of the client's clock, with as few commands as a
// script needs.
func scriptedWindow(s redisClients) func(string) bool {
	script := rueidis.NewLuaScript(`
local used = redis.call('INCRBY', KEYS[1], ARGV[1])
if used == tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return used`)
	return func(key string) bool {
		window := strconv.FormatInt(time.Now().Unix()/3600, 10)
		used, err := script.Exec(ctx, s.rueidis, []string{"script:" + key + window}, []string{"1", "3600000"}).AsInt64()
		return check(used <= highLimit, err)
	}
}

// overRedis runs all candidates interleaved on one server and prints decisions a
// second and their latency.
func overRedis() error {
	address, stop, err := startRedis()
	if err != nil {
		return err
	}
	defer stop()
	s := redisClients{goredis: goredis.NewClient(&goredis.Options{Addr: address, PoolSize: redisCallers})}
	defer func() { _ = s.goredis.Close() }()
	if s.rueidis, err = redis.Connect("redis://"+address, redisTimeout); err != nil {
		return err
	}
	defer s.rueidis.Close()
	names := newKeys(redisKeys)
	takes := make([]func(string) bool, len(redisCandidates))
	results := make([]redisResult, len(redisCandidates))
	for i, c := range redisCandidates {
		takes[i] = c.open(s)
		measureRedis(takes[i], names, redisSlice)
	}
	for range redisRounds {
		for _, i := range rand.Perm(len(takes)) {
			before := s.cpu()
			results[i].add(measureRedis(takes[i], names, redisSlice))
			results[i].addCPU(before, s.cpu())
		}
	}
	fmt.Printf("%s, %d callers, %d random keys, median of %d interleaved slices of %v:\n", address, redisCallers, redisKeys, redisRounds, redisSlice)
	base := median(results[0].perSecond)
	table(func(w *tabwriter.Writer) {
		for i, c := range redisCandidates {
			r := &results[i]
			fmt.Fprintf(w, "%s\t%.2f ×\t%.0f/s\tp50 %v\tp99 %v\t%.2f × CPU: server %v\tclient %v\n", c.name, median(r.perSecond)/base, median(r.perSecond),
				r.quantile(0.5), r.quantile(0.99), results[0].cpuTime()/r.cpuTime(), r.each(r.cpu.server), r.each(r.cpu.client))
		}
	})
	return nil
}

type redisResult struct {
	perSecond []float64
	latencies []time.Duration
	decisions int64
	cpu       cpuTimes
}

// cpuTimes is processor time. Other load on the machine hardly changes it.
type cpuTimes struct{ server, client time.Duration }

func (s *redisClients) cpu() cpuTimes {
	info := must(s.goredis.Info(ctx, "cpu").Result())
	var t cpuTimes
	for line := range strings.SplitSeq(info, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			t.server += time.Duration(must(strconv.ParseFloat(value, 64)) * float64(time.Second))
		}
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	t.client = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return t
}

func (r *redisResult) addCPU(before, after cpuTimes) {
	r.cpu.server += after.server - before.server
	r.cpu.client += after.client - before.client
}

// each returns the processor time of one decision.
func (r *redisResult) each(total time.Duration) time.Duration {
	return (total / time.Duration(r.decisions)).Round(10 * time.Nanosecond)
}

// cpuTime returns the processor time of a decision in both processes.
func (r *redisResult) cpuTime() float64 {
	return float64(r.cpu.server+r.cpu.client) / float64(r.decisions)
}

func (r *redisResult) add(other redisResult) {
	r.perSecond = append(r.perSecond, other.perSecond...)
	r.latencies = append(r.latencies, other.latencies...)
	r.decisions += other.decisions
}

func (r *redisResult) quantile(q float64) time.Duration {
	slices.Sort(r.latencies)
	return r.latencies[int(q*float64(len(r.latencies)-1))].Round(time.Microsecond)
}

// measureRedis lets all callers decide for a time.
func measureRedis(take func(string) bool, names keys, slice time.Duration) redisResult {
	const each = 16 // of which one is timed
	var done atomic.Int64
	latencies := make([][]time.Duration, redisCallers)
	var group sync.WaitGroup
	began := time.Now()
	for caller := range redisCallers {
		group.Go(func() {
			for time.Since(began) < slice {
				for n := range each {
					start := time.Now()
					if !take(names.key(rand.IntN(names.n))) {
						panic("refused")
					}
					if n == 0 {
						latencies[caller] = append(latencies[caller], time.Since(start))
					}
				}
				done.Add(each)
			}
		})
	}
	group.Wait()
	return redisResult{decisions: done.Load(), perSecond: []float64{float64(done.Load()) / time.Since(began).Seconds()}, latencies: slices.Concat(latencies...)}
}

// startRedis starts a server without persistence.
func startRedis() (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address = listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err := listener.Close(); err != nil {
		return "", nil, err
	}
	server := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", os.TempDir())
	if err := server.Start(); err != nil {
		return "", nil, fmt.Errorf("%w: scripts/install-redis.sh installs Redis", err)
	}
	stop = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	waiting, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	for waiting.Err() == nil {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return address, stop, conn.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	return "", nil, errors.New("redis-server doesn't start")
}
