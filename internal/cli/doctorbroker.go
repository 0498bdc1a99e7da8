package cli

import (
	"context"
	"errors"
	"log/slog"

	"ratelimiter/internal/app"
	"ratelimiter/internal/orders"
	"ratelimiter/internal/queue"
)

// checkBroker fails where serve does: if the broker isn't set up as needed. Like serve,
// it creates queues that are missing.
func (d *diagnosis) checkBroker(ctx context.Context) finding {
	transport, err := app.NewTransport(ctx, d.cfg, slog.New(slog.DiscardHandler))
	if err == nil && transport == nil {
		return finding{}
	}
	if err == nil {
		defer transport.Close()
		err = transport.Prepare(ctx, orders.Routes.Groups())
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
