// Command ratelimiter serves a REST API with rate limiting built in, and manages
// its API keys and plans.
package main

import (
	"os"
	_ "time/tzdata" // time zones of calendar quotas, which the machine may lack

	"ratelimiter/internal/cli"
)

func main() { os.Exit(cli.Main()) }
