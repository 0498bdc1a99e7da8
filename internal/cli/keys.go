package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/config"
	"ratelimiter/models"
)

// keysCreateCommand creates a key.
type keysCreateCommand struct {
	Name   string   `required:"" env:"RATELIMITER_KEY_NAME" help:"The name of the key."`
	Plan   string   `env:"RATELIMITER_KEY_PLAN" help:"Its plan. Default: free; internal for admin keys."`
	Scopes []string `env:"RATELIMITER_KEY_SCOPES" help:"Its scopes. Default: products:read,orders:read,orders:write; admin for admin keys."`
	Owner  string   `env:"RATELIMITER_KEY_OWNER" help:"Its owner. Default: a new one."`
	Admin  bool     `env:"RATELIMITER_KEY_ADMIN" help:"Create an operator's key, with the scope admin."`
	JSON   bool     `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// Run creates the key and prints it, the only time that it is shown.
func (k *keysCreateCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	spec, err := k.spec()
	if err != nil {
		return err
	}
	return withKeys(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		key, text, err := keys.Create(ctx, spec)
		if err != nil {
			return err
		}
		if k.JSON {
			return printNewKey(to.out, key, text)
		}
		_, err = fmt.Fprintf(to.out, "%s\n\nThe key is shown only this once. Its id is %s, its plan %s.\n", text, key.ID, key.Plan)
		return err
	})
}

// spec validates the flags by the rules of the API, as the body of a request for
// a new key.
func (k *keysCreateCommand) spec() (models.NewKey, error) {
	body := map[string]any{"name": k.Name}
	if k.Plan != "" {
		body["plan"] = k.Plan
	}
	if k.Owner != "" {
		body["owner"] = k.Owner
	}
	if len(k.Scopes) > 0 {
		scopes := make([]string, len(k.Scopes))
		for i, s := range k.Scopes {
			scopes[i] = strings.TrimSpace(s)
		}
		body["scopes"] = scopes
	}
	data, err := json.Marshal(body)
	if err != nil {
		return models.NewKey{}, err
	}
	spec, err := handlers.ParseNewKey(data)
	if k.Plan == "" {
		spec.Plan = "" // the default depends on Admin
	}
	spec.Admin = k.Admin
	err = k.flagFaults(err)
	if err == nil && k.Admin && len(spec.Scopes) > 0 && !slices.Contains(spec.Scopes, models.ScopeAdmin) {
		err = config.NewError("--admin and --scopes without admin exclude each other: leave out --admin, or add admin to --scopes")
	}
	return spec, err
}

// flagFaults names flags instead of fields in an error of models.KindInvalid.
func (k *keysCreateCommand) flagFaults(err error) error {
	invalid, ok := errors.AsType[*models.Error](err)
	if !ok || invalid.Kind != models.KindInvalid {
		return err
	}
	lines := make([]string, len(invalid.Faults))
	for i, f := range invalid.Faults {
		flag := "--" + f.Path[0]
		if len(f.Path) > 1 { // an element of the only list
			if at, err := strconv.Atoi(f.Path[1]); err == nil {
				flag += fmt.Sprintf(" %q", k.Scopes[at])
			}
		}
		lines[i] = flag + " " + f.Message
	}
	return config.NewError(strings.Join(lines, "\n"))
}

func printNewKey(out io.Writer, key models.APIKey, text string) error {
	return printJSON(out, struct {
		ID  string `json:"id"`
		Key string `json:"key"`
	}{key.ID, text})
}

// keysListCommand lists the keys.
type keysListCommand struct {
	Owner  string `env:"RATELIMITER_LIST_OWNER" help:"Only keys of this owner."`
	Plan   string `env:"RATELIMITER_LIST_PLAN" help:"Only keys on this plan."`
	Status string `env:"RATELIMITER_LIST_STATUS" enum:",active,suspended,expired,revoked" default:"" help:"Only keys with this status: active, suspended, expired or revoked."`
	Search string `name:"search" short:"q" env:"RATELIMITER_LIST_SEARCH" help:"Only keys with this text in name or owner, or with this id."`
	JSON   bool   `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// listPage is how many rows a command reads at a time.
const listPage = 500

// Run prints the keys, newest first.
func (k *keysListCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	filter := models.KeyFilter{Owner: k.Owner, Plan: k.Plan, Status: models.KeyStatus(k.Status), Search: k.Search}
	return withKeys(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		list, err := readAll(func(after *models.Position) (models.Page[models.APIKey], error) {
			return keys.List(ctx, filter, after, listPage)
		})
		if err != nil {
			return err
		}
		now := time.Now()
		if k.JSON {
			return printKeys(to.out, list, now)
		}
		table := tabwriter.NewWriter(to.out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "ID\tSTATUS\tPLAN\tOWNER\tSCOPES\tNAME") // a tabwriter returns its error from Flush
		for _, key := range list {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", key.ID, key.Status(now), key.Plan, printable(key.Owner), joinScopes(key.Scopes), printable(key.Name))
		}
		return table.Flush()
	})
}

// readAll reads all pages of a list.
func readAll[T any](read func(after *models.Position) (models.Page[T], error)) ([]T, error) {
	var all []T
	for after := (*models.Position)(nil); ; {
		page, err := read(after)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if after = page.Next; after == nil {
			return all, nil
		}
	}
}

// printKeys prints keys as the API shows them.
func printKeys(out io.Writer, list []models.APIKey, now time.Time) error {
	data := make([]handlers.Key, len(list))
	for i, key := range list {
		data[i] = handlers.ShowKey(key, now)
	}
	return printJSON(out, map[string]any{"data": data})
}

// keysRotateCommand creates a key's successor.
type keysRotateCommand struct {
	ID    string `arg:"" help:"The key's id, as 'keys list' shows it."`
	Grace string `env:"RATELIMITER_KEY_GRACE" default:"24h" help:"How long the old key stays valid: 0s to 7d. Keys of earlier rotations end."`
	JSON  bool   `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// Run rotates the key and prints the new one, the only time that it is shown.
func (k *keysRotateCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	grace, fault := handlers.ParseGrace(k.Grace)
	if fault != "" {
		return config.NewError("--grace " + fault)
	}
	return withKeys(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		rotation, err := keys.Rotate(ctx, k.ID, grace, models.Precondition{})
		if err != nil {
			return err
		}
		if k.JSON {
			return printNewKey(to.out, rotation.Key, rotation.Text)
		}
		_, err = fmt.Fprintf(to.out, "%s\n\nThe key is shown only this once. Its id is %s; %s is valid until %s.\n",
			rotation.Text, rotation.Key.ID, rotation.Old.ID, rotation.Old.ExpiresAt.Format(time.RFC3339))
		return err
	})
}

func joinScopes(scopes []models.Scope) string {
	parts := make([]string, len(scopes))
	for i, s := range scopes {
		parts[i] = string(s)
	}
	return strings.Join(parts, ",")
}
