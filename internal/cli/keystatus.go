package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/config"
	"ratelimiter/models"
)

// keyArgument is a command on one key.
type keyArgument struct {
	ID   string `arg:"" help:"The key's id, as 'keys list' shows it."`
	JSON bool   `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// run does something with the key and prints the result: as JSON, or with show.
func (k *keyArgument) run(
	ctx context.Context, cfg *config.Config, to *console,
	do func(context.Context, *apikeys.Store) (models.APIKey, error), show func(io.Writer, models.APIKey) error,
) error {
	return withKeys(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		key, err := do(ctx, keys)
		if err != nil {
			return err
		}
		if k.JSON {
			return printJSON(to.out, handlers.ShowKey(key, time.Now()))
		}
		return show(to.out, key)
	})
}

// announce returns a printer of what was done to a key, in words.
func announce(done, effect string) func(io.Writer, models.APIKey) error {
	return func(out io.Writer, key models.APIKey) error {
		_, err := fmt.Fprintf(out, "%s %s (%s). Running servers %s within %s.\n", done, key.ID, printable(key.Name), effect, changefeed.Bound)
		return err
	}
}

// keysRevokeCommand ends a key.
type keysRevokeCommand struct {
	keyArgument

	Only bool `env:"RATELIMITER_KEY_ONLY" help:"Only this key, and not those that it was rotated from and to."`
}

// Run revokes the key. Running servers are notified.
func (k *keysRevokeCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return k.run(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) (models.APIKey, error) {
		return keys.Revoke(ctx, k.ID, !k.Only, models.Precondition{})
	}, announce("Revoked", "reject it"))
}

// keysSuspendCommand suspends a key.
type keysSuspendCommand struct{ keyArgument }

// Run suspends the key. Running servers are notified.
func (k *keysSuspendCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return k.run(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) (models.APIKey, error) {
		return keys.SetSuspended(ctx, k.ID, true, models.Precondition{})
	}, announce("Suspended", "reject it"))
}

// keysResumeCommand ends a suspension.
type keysResumeCommand struct{ keyArgument }

// Run resumes the key. Running servers are notified.
func (k *keysResumeCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return k.run(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) (models.APIKey, error) {
		return keys.SetSuspended(ctx, k.ID, false, models.Precondition{})
	}, announce("Resumed", "accept it"))
}

// keysShowCommand shows a key.
type keysShowCommand struct{ keyArgument }

// Run prints the key without its secret.
func (k *keysShowCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return k.run(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) (models.APIKey, error) {
		return keys.Get(ctx, k.ID)
	}, printKey)
}

// printKey prints a key, one member a line.
func printKey(out io.Writer, key models.APIKey) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { _, _ = fmt.Fprintf(table, "%s\t%v\n", name, value) } // a tabwriter returns its error from Flush
	line("id", key.ID)
	line("name", printable(key.Name))
	line("status", key.Status(time.Now()))
	line("plan", key.Plan)
	line("scopes", joinScopes(key.Scopes))
	line("owner", printable(key.Owner))
	line("subject", key.Subject)
	line("addresses", key.IPAllow)
	line("created", key.CreatedAt.Format(time.RFC3339))
	line("expires", timeOrNever(key.ExpiresAt))
	line("last used", timeOrNever(key.LastUsedAt))
	for _, o := range key.Overrides {
		line("override", fmt.Sprintf("%s until %s %s", policyJSON(o.Policy), timeOrNever(o.ExpiresAt), printable(o.Reason)))
	}
	for _, name := range slices.Sorted(maps.Keys(key.Metadata)) {
		line("label", printable(name)+"="+printable(key.Metadata[name]))
	}
	return table.Flush()
}

func timeOrNever(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.Format(time.RFC3339)
}
