// Command ratelimiter serves a REST API with rate limiting built in, and manages
// its API keys and plans.
package main

import (
	"os"

	"ratelimiter/internal/cli"
)

func main() { os.Exit(cli.Main()) }
