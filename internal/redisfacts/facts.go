// Package redisfacts reads the configuration of the Redis servers that share rate
// limit counters, and finds what endangers them.
package redisfacts

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Facts is what one server says about itself.
type Facts struct {
	Addr     string
	Name     string // Redis or Valkey
	Version  string // of that program
	Replica  bool
	Eviction string // maxmemory-policy
	AOF      bool   // appendonly
	Replicas int    // that are connected
	// MinReplicas reports whether min-replicas-to-write is set.
	MinReplicas bool
	// ClockAhead is the server's clock minus this machine's, and ClockError the
	// largest error of that.
	ClockAhead, ClockError time.Duration
}

// Inspect returns the facts of each server of client that takes writes, by address.
// It needs no other rights than INFO and TIME. The error is the first server's that
// can't be asked.
func Inspect(ctx context.Context, client rueidis.Client) ([]Facts, error) {
	var list []Facts
	for addr, node := range client.Nodes() {
		facts, err := inspect(ctx, node)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", addr, err)
		}
		facts.Addr = addr
		if !facts.Replica {
			list = append(list, facts)
		}
	}
	slices.SortFunc(list, func(a, b Facts) int { return strings.Compare(a.Addr, b.Addr) })
	return list, nil
}

func inspect(ctx context.Context, node rueidis.Client) (Facts, error) {
	text, err := node.Do(ctx, node.B().Info().Build()).ToString()
	if err != nil {
		return Facts{}, err
	}
	facts := parse(text)
	before := time.Now()
	parts, err := node.Do(ctx, node.B().Time().Build()).AsStrSlice()
	if err != nil {
		return Facts{}, err
	}
	after := time.Now()
	if len(parts) == 2 {
		seconds, _ := strconv.ParseInt(parts[0], 10, 64)
		micros, _ := strconv.ParseInt(parts[1], 10, 64)
		facts.ClockError = after.Sub(before) / 2
		facts.ClockAhead = time.Unix(seconds, micros*1000).Sub(before.Add(facts.ClockError))
	}
	return facts, nil
}

// parse reads the output of INFO: lines of name:value.
func parse(text string) Facts {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			values[name] = value
		}
	}
	f := Facts{
		Name: "Redis", Version: values["redis_version"], Replica: values["role"] == "slave",
		Eviction: values["maxmemory_policy"], AOF: values["aof_enabled"] == "1",
	}
	if version := values["valkey_version"]; version != "" {
		f.Name, f.Version = "Valkey", version
	}
	f.Replicas, _ = strconv.Atoi(values["connected_slaves"])
	_, f.MinReplicas = values["min_slaves_good_slaves"] // reported only if it is set
	return f
}

// minRedis is the first major version of Redis with functions.
const minRedis = 7

// maxClockDifference is what a clock that is kept by NTP never reaches.
const maxClockDifference = time.Second

// Warnings returns what endangers the counters, each with advice.
func (f *Facts) Warnings() []string {
	var warnings []string
	warn := func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf(format, args...))
	}
	major, _, _ := strings.Cut(f.Version, ".")
	if n, err := strconv.Atoi(major); f.Name == "Redis" && (err != nil || n < minRedis) {
		warn("Redis %s has no functions: decisions are made without it. Upgrade to Redis 7 or newer, or Valkey.", f.Version)
	}
	if f.Eviction != "noeviction" {
		warn("maxmemory-policy is %s: once memory is full, counters are evicted and begin fresh. Set it to noeviction.", f.Eviction)
	}
	if !f.AOF && f.Replicas == 0 {
		warn("appendonly is off and there is no replica: a restart forgets all counters, which admits up to one extra quota. Set appendonly to yes.")
	}
	if f.Replicas > 0 && !f.MinReplicas {
		warn("min-replicas-to-write is not set: a primary that has lost its replicas keeps counting, and a promotion forgets that. Set it to 1.")
	}
	if ahead := f.ClockAhead; ahead.Abs() > maxClockDifference+f.ClockError {
		warn("the clock differs from this machine's by %s. The server's clock decides. Synchronize both, by NTP for example.", ahead.Round(time.Millisecond))
	}
	return warnings
}
