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
)

// devKeysFile is a file in DATA_DIR with mode 0600.
const devKeysFile = "dev-keys.json"

// devKeys are the keys that dev mode creates.
type devKeys struct {
	Demo  string `json:"demo"`
	Admin string `json:"admin"`
}

// greeting returns where the server is. In a database without keys it creates
// two, shows them this once, and keeps them in devKeysFile.
func greeting(ctx context.Context, cfg *config.Config, s *services, addr net.Addr) (string, error) {
	base := "http://" + localAddress(addr)
	file := filepath.Join(cfg.DataDir, devKeysFile)
	created, err := createDevKeys(ctx, cfg, s, file)
	if err != nil {
		return "", fmt.Errorf("create the dev keys: %w", err)
	}
	text := fmt.Sprintf("\nRateLimiter is ready.\n\n  API        %s/v1\n  Docs       %s/docs\n", base, base)
	switch {
	case created == nil && inDatabase(ctx, s, file):
		text += fmt.Sprintf("\nThe dev keys are in %s.\n\n", file)
	case created == nil:
		text += "\nThis database has keys already. To create another: ratelimiter keys create --name mine\n\n"
	default:
		text += fmt.Sprintf("  Demo key   %s\n  Admin key  %s\n\n", created.Demo, created.Admin) +
			fmt.Sprintf("The keys are shown only this once and kept in %s. Try:\n\n", file) +
			fmt.Sprintf("  curl -i -H 'Authorization: Bearer %s' %s/v1/products\n\n", created.Demo, base)
	}
	return text, nil
}

// devKeysLock is the number, chosen at random, of the advisory lock that keeps
// two instances on one database from both creating dev keys.
const devKeysLock = 7_203_385_911

// createDevKeys creates the dev keys in a database without keys, and returns nil
// for others. The file is written before the commit, so that no key becomes
// valid that nobody knows.
func createDevKeys(ctx context.Context, cfg *config.Config, s *services, file string) (created *devKeys, err error) {
	ctx = models.WithActor(ctx, models.ActorDev)
	err = postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(devKeysLock)); err != nil {
			return err
		}
		none := changefeed.NoCaches{}
		keys := apikeys.NewStore(tx, cfg.Peppers, quota.NewPlans(tx, none), none)
		if exists, err := keys.HasKeys(ctx); exists || err != nil {
			return err
		}
		_, demo, err := keys.Create(ctx, models.NewKey{Name: "demo", Owner: "own_demo"})
		if err != nil {
			return err
		}
		_, admin, err := keys.Create(ctx, models.NewKey{Name: "admin", Owner: "own_admin", Admin: true})
		if err != nil {
			return err
		}
		created = &devKeys{Demo: demo, Admin: admin}
		return created.write(file)
	})
	return created, err
}

// write writes the keys to a file with mode 0600. An existing file is renamed: it
// may hold the only copy of another database's keys.
func (k *devKeys) write(file string) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	aside := strings.TrimSuffix(file, ".json") + time.Now().UTC().Format(".until-20060102T150405.000000000") + ".json"
	if err := os.Rename(file, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o600)
}

// inDatabase reports whether the keys in a file belong to this database.
func inDatabase(ctx context.Context, s *services, file string) bool {
	data, err := os.ReadFile(file)
	var keys devKeys
	if err != nil || json.Unmarshal(data, &keys) != nil {
		return false
	}
	id, err := apikeys.ParseID(keys.Demo)
	if err != nil {
		return false
	}
	_, err = s.keys.Get(ctx, id)
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
