package cli

import (
	"context"
	"errors"

	"ratelimiter/internal/app"
	"ratelimiter/internal/queue"
)

// checkBroker fails where serve does: if the broker isn't set up as needed. Like serve,
// it creates queues that are missing.
func (d *diagnosis) checkBroker(ctx context.Context) finding {
	exists, err := app.CheckBroker(ctx, d.cfg)
	if !exists {
		return finding{}
	}
	name := string(d.cfg.Queue.Transport)
	switch {
	case errors.Is(err, queue.ErrMisconfigured):
		return failure(name+": "+oneLine(err), "Change what the message names; until then serve doesn't start.")
	case err != nil:
		return warning(name+": "+oneLine(err), "Orders are accepted, and their messages wait in Postgres until it answers. Check address, account and firewall.")
	}
	return passed("%s, queues %s.*", name, d.cfg.Queue.Prefix)
}
