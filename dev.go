package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// devKeysFile stands in DATA_DIR, readable by its owner only.
const devKeysFile = "dev-keys.json"

// devKeys are the keys that dev mode makes.
type devKeys struct {
	Demo  string `json:"demo"`
	Admin string `json:"admin"`
}

// greet tells a newcomer where everything is. In a database without keys it
// makes two, prints them this once, and keeps them in devKeysFile.
func greet(ctx context.Context, cfg *config, to *console, db *database, addr net.Addr) error {
	base := "http://" + localAddress(addr)
	file := filepath.Join(cfg.dataDir, devKeysFile)
	made, err := makeDevKeys(ctx, cfg, db, file)
	if err != nil {
		return fmt.Errorf("make the dev keys: %w", err)
	}
	text := fmt.Sprintf("\nRateLimiter is ready.\n\n  API        %s/v1\n  Docs       %s/docs\n", base, base)
	switch {
	case made == nil && madeHere(ctx, db, file):
		text += fmt.Sprintf("\nThe keys that dev mode made stand in %s.\n\n", file)
	case made == nil:
		text += "\nThere are keys in this database already. To make another: ratelimiter keys create --name mine\n\n"
	default:
		text += fmt.Sprintf("  Demo key   %s\n  Admin key  %s\n\n", made.Demo, made.Admin) +
			fmt.Sprintf("The keys are shown this once, and kept in %s. Try:\n\n", file) +
			fmt.Sprintf("  curl -i -H 'Authorization: Bearer %s' %s/v1/products\n\n", made.Demo, base)
	}
	_, err = io.WriteString(to.out, text)
	return err
}

// devKeysLock keeps two instances on one database from both making dev keys:
// the number of an advisory lock, chosen at random.
const devKeysLock = 7_203_385_911

// makeDevKeys makes the dev keys in a database without any, and returns nil in
// another. The file is written before the keys are committed, so that no key
// is in force that nobody can know.
func makeDevKeys(ctx context.Context, cfg *config, db *database, file string) (made *devKeys, err error) {
	ctx = models.WithActor(ctx, models.ActorDev)
	err = postgres.InTx(ctx, db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(devKeysLock)); err != nil {
			return err
		}
		keys := apikeys.NewStore(tx, cfg.peppers)
		if any, err := keys.Any(ctx); any || err != nil {
			return err
		}
		_, demo, err := keys.Create(ctx, apikeys.NewKey{Name: "demo", Owner: "own_demo"})
		if err != nil {
			return err
		}
		_, admin, err := keys.Create(ctx, apikeys.NewKey{Name: "admin", Owner: "own_admin", Admin: true})
		if err != nil {
			return err
		}
		made = &devKeys{Demo: demo, Admin: admin}
		return made.write(file)
	})
	return made, err
}

// write puts the keys into a file that only its owner can read.
func (k *devKeys) write(file string) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := setAside(file); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o600)
}

// setAside gives a file that is there already another name: the keys in it are
// another database's, and stand nowhere else.
func setAside(file string) error {
	if _, err := os.Lstat(file); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	aside := strings.TrimSuffix(file, ".json") + time.Now().UTC().Format(".until-20060102T150405.000000000") + ".json"
	return os.Rename(file, aside)
}

// madeHere reports whether the keys in a file are of this database.
func madeHere(ctx context.Context, db *database, file string) bool {
	data, err := os.ReadFile(file)
	var keys devKeys
	if err != nil || json.Unmarshal(data, &keys) != nil {
		return false
	}
	id, err := apikeys.ParseID(keys.Demo)
	if err != nil {
		return false
	}
	_, err = apikeys.NewStore(db.Pool, nil).Get(ctx, id)
	return err == nil
}

// localAddress is where a browser on this machine finds a listener.
func localAddress(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return fmt.Sprintf("localhost:%d", tcp.Port)
}
