package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"ratelimiter/docs"
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
	return withKeys(ctx, cfg, to, func(keys *apikeys.Store) error {
		key, text, err := keys.Create(ctx, apikeys.NewKey{
			Name: k.Name, Plan: k.Plan, Scopes: scopes, Owner: k.Owner, Admin: k.Admin,
		})
		if err != nil {
			return err
		}
		if k.JSON {
			return printJSON(to.out, struct {
				ID  string `json:"id"`
				Key string `json:"key"`
			}{key.ID, text})
		}
		_, err = fmt.Fprintf(to.out, "%s\n\nThis is the only time that the key is shown. Its id is %s, its plan %s.\n", text, key.ID, key.Plan)
		return err
	})
}

// keysListCommand lists the keys.
type keysListCommand struct {
	JSON bool `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// Run prints every key, newest first.
func (k *keysListCommand) Run(ctx context.Context, cfg *config, to *console) error {
	return withKeys(ctx, cfg, to, func(keys *apikeys.Store) error {
		list, err := keys.List(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if k.JSON {
			data := make([]keyLine, len(list))
			for i, key := range list {
				data[i] = keyLine{key, key.Status(now)}
			}
			return printJSON(to.out, map[string]any{"data": data})
		}
		table := tabwriter.NewWriter(to.out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "ID\tSTATUS\tPLAN\tSCOPES\tNAME") // a tabwriter keeps its error until Flush
		for _, key := range list {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", key.ID, key.Status(now), key.Plan, joinScopes(key.Scopes), key.Name)
		}
		return table.Flush()
	})
}

// keyLine is a key as a list shows it.
type keyLine struct {
	models.APIKey
	Status models.KeyStatus `json:"status"`
}

// keysRevokeCommand ends a key.
type keysRevokeCommand struct {
	ID   string `arg:"" help:"The key's id, as 'keys list' shows it."`
	JSON bool   `env:"RATELIMITER_JSON" help:"Print JSON."`
}

// Run revokes the key. Running servers notice when what they hold in memory is
// no longer fresh.
func (k *keysRevokeCommand) Run(ctx context.Context, cfg *config, to *console) error {
	return withKeys(ctx, cfg, to, func(keys *apikeys.Store) error {
		key, err := keys.Revoke(ctx, k.ID)
		if err != nil {
			return err
		}
		if k.JSON {
			return printJSON(to.out, keyLine{key, key.Status(time.Now())})
		}
		_, err = fmt.Fprintf(to.out, "Revoked %s (%s). Running servers refuse it within %s.\n", key.ID, key.Name, cfg.cacheTTL)
		return err
	})
}

// openAPICommand prints the API's description.
type openAPICommand struct{}

// Run prints it as the server would serve it.
func (*openAPICommand) Run(to *console) error {
	_, err := to.out.Write(docs.OpenAPI())
	return err
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
