package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/config"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// devKeysFile is a file in DATA_DIR with mode 0600.
const devKeysFile = "dev-keys.json"

// devKeys are the keys that dev mode creates.
type devKeys struct {
	Demo  string `json:"demo"`
	Tiny  string `json:"tiny"` // on the plan tiny
	Admin string `json:"admin"`
}

// tinyPlan has a limit that a person reaches by hand.
var tinyPlan = models.NewPlan{
	Name: "tiny", Description: "Five requests a minute, to see a 429.",
	Policies: []ratelimit.Policy{{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 5, Period: "1m"}},
}

// greeting returns where the server is. In a database without keys it creates
// the dev keys, shows them this once, and keeps them in devKeysFile. It adds the
// key on the plan tiny to a file of an earlier version that has none.
func greeting(ctx context.Context, cfg *config.Config, s *services, addr net.Addr) (string, error) {
	base := "http://" + localAddress(addr)
	file := filepath.Join(cfg.DataDir, devKeysFile)
	created, err := createDevKeys(ctx, cfg, s, file)
	if err != nil {
		return "", fmt.Errorf("create the dev keys: %w", err)
	}
	text := fmt.Sprintf("\nRateLimiter is ready.\n\n  API        %s/v1\n  Docs       %s/docs\n  Guide      %s/guide\n", base, base, base)
	switch {
	case created != nil && created.Demo != "":
		text += fmt.Sprintf("  Demo key   %s\n  Admin key  %s\n\n", created.Demo, created.Admin) +
			fmt.Sprintf("The keys are shown only this once and kept in %s. Try:\n\n", file) +
			fmt.Sprintf("  curl -i -H 'Authorization: Bearer %s' %s/v1/products\n\n", created.Demo, base) +
			tinyGreeting(created.Tiny, base)
	case created != nil:
		text += "\n" + tinyGreeting(created.Tiny, base) + fmt.Sprintf("This key is new. The dev keys are in %s.\n\n", file)
	case inDatabase(ctx, s, file):
		text += fmt.Sprintf("\nThe dev keys are in %s.\n\n", file)
	default:
		text += "\nThis database has keys already. To create another: ratelimiter keys create --name mine\n\n"
	}
	return text, nil
}

// tinyGreeting shows a key on the plan tiny, and a command whose sixth response is a 429.
func tinyGreeting(key, base string) string {
	return fmt.Sprintf("Key to see a 429 with: %s. The last of these six requests is one too many:\n\n", key) +
		fmt.Sprintf("  for i in 1 2 3 4 5 6; do curl -s -w '\\n%%{http_code}\\n' -H 'Authorization: Bearer %s' %s/v1/products/prd_0y5apuf8zs; done\n\n", key, base)
}

// devKeysLock is the number, chosen at random, of the advisory lock that keeps
// two instances on one database from both creating dev keys.
const devKeysLock = 7_203_385_911

// createDevKeys creates the dev keys that are missing and returns them: all of
// them in a database without keys, the one on the plan tiny in the database of a
// file without it, and nil for others. The file is written before the commit, so
// that no key becomes valid that nobody knows.
func createDevKeys(ctx context.Context, cfg *config.Config, s *services, file string) (created *devKeys, err error) {
	ctx = models.WithActor(ctx, models.ActorDev)
	err = postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(devKeysLock)); err != nil {
			return err
		}
		none := changefeed.NoCaches{}
		plans := quota.NewPlans(tx, none)
		keys := apikeys.NewStore(tx, cfg.Peppers, plans, none)
		exists, err := keys.HasKeys(ctx)
		if err != nil {
			return err
		}
		if exists {
			created, err = addTinyKey(ctx, plans, keys, file)
			return err
		}
		created = &devKeys{}
		if _, created.Demo, err = keys.Create(ctx, models.NewKey{Name: "demo", Owner: demoOwner}); err != nil {
			return err
		}
		if _, created.Admin, err = keys.Create(ctx, models.NewKey{Name: "admin", Owner: "own_admin", Admin: true}); err != nil {
			return err
		}
		if created.Tiny, err = createTinyKey(ctx, plans, keys); err != nil {
			return err
		}
		if err := keepFile(file); err != nil {
			return err
		}
		return created.write(file)
	})
	return created, err
}

// demoOwner owns the keys of callers that dev mode creates.
const demoOwner = "own_demo"

// createTinyKey creates a key on the plan tiny, and the plan if it is missing.
func createTinyKey(ctx context.Context, plans *quota.Plans, keys *apikeys.Store) (text string, err error) {
	if _, err = plans.Get(ctx, tinyPlan.Name); errors.Is(err, models.ErrNotFound) {
		_, _, err = plans.Put(ctx, tinyPlan, models.Precondition{})
	}
	if err == nil {
		_, text, err = keys.Create(ctx, models.NewKey{Name: "tiny", Owner: demoOwner, Plan: tinyPlan.Name})
	}
	return text, err
}

// addTinyKey creates the key on the plan tiny if the file's other keys are in
// the database and this one isn't. The result has only that key, or is nil.
func addTinyKey(ctx context.Context, plans *quota.Plans, keys *apikeys.Store, file string) (*devKeys, error) {
	stored, err := readDevKeys(file)
	if err != nil || !isKey(ctx, keys, stored.Demo) || isKey(ctx, keys, stored.Tiny) {
		return nil, nil //nolint:nilerr // without a usable file, the keys are another database's or someone's own
	}
	if stored.Tiny, err = createTinyKey(ctx, plans, keys); err != nil {
		return nil, err
	}
	return &devKeys{Tiny: stored.Tiny}, stored.write(file)
}

// keepFile renames an existing file: it may hold the only copy of another
// database's keys.
func keepFile(file string) error {
	aside := strings.TrimSuffix(file, ".json") + time.Now().UTC().Format(".until-20060102T150405.000000000") + ".json"
	if err := os.Rename(file, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// write replaces a file, at once, by one with the keys and mode 0600. It creates the
// folder if there is none.
func (k *devKeys) write(file string) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	temporary := file + ".new"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

func readDevKeys(file string) (*devKeys, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var keys devKeys
	return &keys, json.Unmarshal(data, &keys)
}

// inDatabase reports whether the keys in a file belong to this database.
func inDatabase(ctx context.Context, s *services, file string) bool {
	keys, err := readDevKeys(file)
	return err == nil && isKey(ctx, s.keys, keys.Demo)
}

// isKey reports whether a key with this text's id exists.
func isKey(ctx context.Context, keys *apikeys.Store, text string) bool {
	id, err := apikeys.ParseID(text)
	if err != nil {
		return false
	}
	_, err = keys.Get(ctx, id)
	return err == nil
}

// localAddress returns the address of a listener for browsers on this machine.
func localAddress(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return fmt.Sprintf("localhost:%d", tcp.Port)
}
