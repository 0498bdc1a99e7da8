package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mattn/go-isatty"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/config"
	"ratelimiter/internal/quota"
	"ratelimiter/models"
)

// keyArgument is a command on one key.
type keyArgument struct {
	ID   string `arg:"" help:"The key's id, as 'keys list' shows it."`
	JSON bool   `help:"Print JSON."`
}

// run changes the key and prints the result: as JSON, or with show.
func (k *keyArgument) run(
	ctx context.Context, cfg *config.Config, to *console,
	do func(context.Context, *apikeys.Store) (models.APIKey, error), show func(io.Writer, models.APIKey) error,
) error {
	return withDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		key, err := do(ctx, keyStore(db, nil))
		if err != nil {
			return noKey(k.ID, err)
		}
		if k.JSON {
			return printJSON(to.out, handlers.ShowKey(key, time.Now()))
		}
		return show(to.out, key)
	})
}

// noKey names the id that there is no key with.
func noKey(id string, err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return fmt.Errorf("key %q: not found; see 'ratelimiter keys list'", id)
	}
	return err
}

// confirmation is for commands that may end the last admin key.
type confirmation struct {
	Yes bool `help:"Also end the last admin key, without asking."`
}

// end ends a key by do. For the last admin key it asks for a confirmation, and fails
// if nobody can be asked.
func (c *confirmation) end(to *console, keys *apikeys.Store, do func(*apikeys.Store) (models.APIKey, error)) (models.APIKey, error) {
	if c.Yes {
		return do(keys.AllowNoAdmin())
	}
	key, err := do(keys)
	if refusal, ok := errors.AsType[*models.Error](err); !ok || refusal.Code != "last_admin_key" {
		return key, err
	}
	if !isatty.IsTerminal(to.in.Fd()) {
		return key, fmt.Errorf("%w To end it anyway, add --yes", err)
	}
	fmt.Fprintf(to.notes, "%s\nEnd it anyway? [y/N] ", err)
	answer, _ := bufio.NewReader(to.in).ReadString('\n') // no answer is no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return key, errors.New("nothing was changed")
	}
	return do(keys.AllowNoAdmin())
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
	confirmation

	Only bool `help:"Only this key, and not those that it was rotated from and to."`
}

// Run revokes the key. Running servers are notified.
func (k *keysRevokeCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return k.run(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) (models.APIKey, error) {
		return k.end(to, keys, func(keys *apikeys.Store) (models.APIKey, error) {
			return keys.Revoke(ctx, k.ID, !k.Only, models.Precondition{})
		})
	}, announce("Revoked", "reject it"))
}

// keysSuspendCommand suspends a key.
type keysSuspendCommand struct {
	keyArgument
	confirmation
}

// Run suspends the key. Running servers are notified.
func (k *keysSuspendCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return k.run(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) (models.APIKey, error) {
		return k.end(to, keys, func(keys *apikeys.Store) (models.APIKey, error) {
			return keys.SetSuspended(ctx, k.ID, true, models.Precondition{})
		})
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

// Run prints the key without its secret, and the policies that apply to it now.
func (k *keysShowCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return readDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		key, policies, err := quota.ReadQuota(ctx, db, k.ID)
		if err != nil {
			return noKey(k.ID, err)
		}
		shown := handlers.ShowKeyWithQuota(key, policies, time.Now())
		if k.JSON {
			return printJSON(to.out, shown)
		}
		return printKey(to.out, shown)
	})
}

// printKey prints a key, one member a line.
func printKey(out io.Writer, key handlers.KeyWithQuota) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { _, _ = fmt.Fprintf(table, "%s\t%v\n", name, value) } // a tabwriter returns its error from Flush
	line("id", key.ID)
	line("name", printable(key.Name))
	line("status", key.Status)
	line("plan", key.Plan)
	line("scopes", joinScopes(key.Scopes))
	line("owner", printable(key.Owner))
	line("subject", key.Subject)
	line("addresses", cmp.Or(strings.Trim(fmt.Sprint(key.IPAllow), "[]"), "all"))
	line("created", key.CreatedAt.Format(time.RFC3339))
	line("expires", timeOrNever(key.ExpiresAt))
	line("last used", timeOrNever(key.LastUsedAt))
	for _, p := range key.Quota {
		line("policy", fmt.Sprintf("%s: %s (%s)", p.Name, describePolicy(p.Policy), p.Origin))
	}
	for _, o := range key.Overrides {
		end := "for good"
		if o.ExpiresAt != nil {
			end = "until " + o.ExpiresAt.Format(time.RFC3339)
		}
		line("override", strings.TrimSpace(fmt.Sprintf("%s: %s, %s %s", o.Policy.Name, describePolicy(o.Policy), end, printable(o.Reason))))
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
