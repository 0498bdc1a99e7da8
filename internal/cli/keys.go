package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/config"
	"ratelimiter/models"
)

// keysListCommand lists the keys.
type keysListCommand struct {
	Owner  string `help:"Only keys of this owner."`
	Plan   string `help:"Only keys on this plan."`
	Status string `enum:",active,suspended,expired,revoked" default:"" placeholder:"STATUS" help:"Only active, suspended, expired or revoked keys."`
	Search string `short:"q" help:"Only keys with this text in name or owner, or this id."`
	JSON   bool   `help:"Print JSON, with everything but the secrets."`
}

// listPage is how many rows a command reads at a time.
const listPage = 500

// Run prints the keys, newest first.
func (k *keysListCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	filter := models.KeyFilter{Owner: k.Owner, Plan: k.Plan, Status: models.KeyStatus(k.Status), Search: k.Search}
	return readDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		list, err := readAll(func(after *models.Position) (models.Page[models.APIKey], error) {
			return keyStore(db, nil).List(ctx, filter, after, listPage)
		})
		if err != nil {
			return err
		}
		now := time.Now()
		if k.JSON {
			return printKeys(to.out, list, now)
		}
		_, err = io.WriteString(to.out, keyTable(list, now))
		return err
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
	Grace string `default:"24h" help:"How long the old key stays valid: 0s to 7d. Keys of earlier rotations end."`
	JSON  bool   `help:"Print JSON."`
}

// Run rotates the key and prints the new one, the only time that it is shown.
func (k *keysRotateCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	grace, fault := handlers.ParseGrace(k.Grace)
	if fault != "" {
		return config.NewError("--grace " + fault)
	}
	return withPeppers(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		rotation, err := keys.Rotate(ctx, k.ID, grace, models.Precondition{})
		if err != nil {
			return noKey(k.ID, err)
		}
		notice := fmt.Sprintf("Its id is %s; %s is valid until %s.", rotation.Key.ID, rotation.Old.ID, rotation.Old.ExpiresAt.Format(time.RFC3339))
		return printNewKey(to, rotation.Key, rotation.Text, k.JSON, notice)
	})
}

func joinScopes(scopes []models.Scope) string {
	parts := make([]string, len(scopes))
	for i, s := range scopes {
		parts[i] = string(s)
	}
	return strings.Join(parts, ",")
}
