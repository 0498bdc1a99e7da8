package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/models"
)

// keysCreateCommand makes a key.
type keysCreateCommand struct {
	Name   string   `required:"" env:"RATELIMITER_KEY_NAME" help:"What the key is for."`
	Plan   string   `env:"RATELIMITER_KEY_PLAN" help:"Its plan. Default: free; internal for admin keys."`
	Scopes []string `env:"RATELIMITER_KEY_SCOPES" help:"What it may do. Default: products:read,orders:read,orders:write; admin for admin keys."`
	Owner  string   `env:"RATELIMITER_KEY_OWNER" help:"Whose it is. Default: a new owner."`
	Admin  bool     `env:"RATELIMITER_KEY_ADMIN" help:"Make an operator's key."`
	JSON   bool     `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// Run makes the key and prints it, the only time that it is shown.
func (k *keysCreateCommand) Run(ctx context.Context, cfg *config, to *console) error {
	scopes := make([]models.Scope, len(k.Scopes))
	for i, s := range k.Scopes {
		scopes[i] = models.Scope(strings.TrimSpace(s))
	}
	return withKeys(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		key, text, err := keys.Create(ctx, apikeys.NewKey{
			Name: k.Name, Plan: k.Plan, Scopes: scopes, Owner: k.Owner, Admin: k.Admin,
		})
		if err != nil {
			return err
		}
		if k.JSON {
			return printNewKey(to.out, key, text)
		}
		_, err = fmt.Fprintf(to.out, "%s\n\nThis is the only time that the key is shown. Its id is %s, its plan %s.\n", text, key.ID, key.Plan)
		return err
	})
}

func printNewKey(out io.Writer, key models.APIKey, text string) error {
	return printJSON(out, struct {
		ID  string `json:"id"`
		Key string `json:"key"`
	}{key.ID, text})
}

// keysListCommand lists the keys.
type keysListCommand struct {
	Owner  string `env:"RATELIMITER_LIST_OWNER" help:"Only this owner's."`
	Plan   string `env:"RATELIMITER_LIST_PLAN" help:"Only on this plan."`
	Status string `env:"RATELIMITER_LIST_STATUS" enum:",active,expired,revoked" default:"" help:"Only in this state: active, expired or revoked."`
	Search string `name:"search" short:"q" env:"RATELIMITER_LIST_SEARCH" help:"Only with this in name or owner, or with this id."`
	JSON   bool   `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// listPage is how many rows a command reads at once.
const listPage = 500

// Run prints the keys, newest first.
func (k *keysListCommand) Run(ctx context.Context, cfg *config, to *console) error {
	filter := models.KeyFilter{Owner: k.Owner, Plan: k.Plan, Status: models.KeyStatus(k.Status), Search: k.Search}
	return withKeys(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		list, err := everything(func(after *models.Position) (models.Page[models.APIKey], error) {
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
		_, _ = fmt.Fprintln(table, "ID\tSTATUS\tPLAN\tOWNER\tSCOPES\tNAME") // a tabwriter keeps its error until Flush
		for _, key := range list {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", key.ID, key.Status(now), key.Plan, key.Owner, joinScopes(key.Scopes), key.Name)
		}
		return table.Flush()
	})
}

// everything reads all pages of a list.
func everything[T any](read func(after *models.Position) (models.Page[T], error)) ([]T, error) {
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
		shown, err := handlers.ShowKey(key, now)
		if err != nil {
			return err
		}
		data[i] = shown
	}
	return printJSON(out, map[string]any{"data": data})
}

// keysRotateCommand makes a key's successor.
type keysRotateCommand struct {
	ID    string `arg:"" help:"The key's id, as 'keys list' shows it."`
	Grace string `env:"RATELIMITER_KEY_GRACE" default:"24h" help:"How long the old key works on: 0s to 7d."`
	JSON  bool   `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// Run rotates the key and prints the new one, the only time that it is shown.
func (k *keysRotateCommand) Run(ctx context.Context, cfg *config, to *console) error {
	grace, fault := handlers.ParseGrace(k.Grace)
	if fault != "" {
		return &usageError{fmt.Errorf("--grace %s", fault)}
	}
	return withKeys(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		rotation, err := keys.Rotate(ctx, k.ID, grace, models.Expected{})
		if err != nil {
			return err
		}
		if k.JSON {
			return printNewKey(to.out, rotation.Key, rotation.Text)
		}
		_, err = fmt.Fprintf(to.out, "%s\n\nThis is the only time that the key is shown. Its id is %s; %s works until %s.\n",
			rotation.Text, rotation.Key.ID, rotation.Old.ID, rotation.Old.ExpiresAt.Format(time.RFC3339))
		return err
	})
}

// keysRevokeCommand ends a key.
type keysRevokeCommand struct {
	ID   string `arg:"" help:"The key's id, as 'keys list' shows it."`
	JSON bool   `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// Run revokes the key. Running servers notice when what they hold in memory is
// no longer fresh.
func (k *keysRevokeCommand) Run(ctx context.Context, cfg *config, to *console) error {
	return withKeys(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		key, err := keys.Revoke(ctx, k.ID, models.Expected{})
		if err != nil {
			return err
		}
		if k.JSON {
			shown, err := handlers.ShowKey(key, time.Now())
			if err != nil {
				return err
			}
			return printJSON(to.out, shown)
		}
		_, err = fmt.Fprintf(to.out, "Revoked %s (%s). Running servers refuse it within %s.\n", key.ID, key.Name, cfg.cacheTTL)
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

func printJSON(out io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(data))
	return err
}
