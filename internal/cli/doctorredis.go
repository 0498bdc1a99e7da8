package cli

import (
	"context"
	"fmt"
	"strings"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/redisfacts"
	"ratelimiter/ratelimit/redis"
)

// checkRedis never fails: serve starts without Redis.
func (d *diagnosis) checkRedis(ctx context.Context) finding {
	if d.cfg == nil || d.cfg.RedisURL == "" {
		return finding{}
	}
	const advice = "Until it answers, each instance decides alone, on its share. Check host, port, account and firewall, and that Redis 7 or newer, or Valkey, runs."
	client, err := redis.Connect(d.cfg.RedisURL, d.cfg.RedisTimeout)
	if err != nil {
		return warning("REDIS_URL: "+postgres.Cause(err), advice)
	}
	defer client.Close()
	servers, err := redisfacts.Inspect(ctx, client)
	if err != nil {
		return warning("REDIS_URL: "+oneLine(err), advice)
	}
	var names, warnings []string
	for _, facts := range servers {
		names = append(names, fmt.Sprintf("%s %s at %s", facts.Name, facts.Version, facts.Addr))
		for _, w := range facts.Warnings() {
			warnings = append(warnings, facts.Addr+": "+w)
		}
	}
	found := strings.Join(names, ", ")
	if len(servers) == 0 {
		return warning("no server takes writes", advice)
	}
	if len(warnings) > 0 {
		return warning(found, strings.Join(warnings, "\n"))
	}
	return passed("%s", found)
}
