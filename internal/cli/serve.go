package cli

import (
	"context"

	"ratelimiter/internal/app"
	"ratelimiter/internal/config"
)

// serveCommand serves the API until a signal.
type serveCommand struct {
	Dev bool `help:"For trying out: create a key pepper and, in an empty database, a demo key and an admin key."`
}

// Run serves until ctx ends.
func (s *serveCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	if err := cfg.LoadPeppers(s.Dev); err != nil {
		return err
	}
	server, err := app.New(cfg, app.Options{Log: to.log, Out: to.out, Terminal: to.terminal, Dev: s.Dev})
	if err != nil {
		return err
	}
	if err := server.Run(ctx); err != nil {
		return err
	}
	to.log.Info("stopped")
	return nil
}
