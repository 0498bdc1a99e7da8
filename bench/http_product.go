package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/devdb"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/migrations"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// product is RateLimiter's database and keys.
type product struct {
	folder, pepper string
	postgres       *devdb.Server
	postgresPID    int
	keys           map[string][]string // by the path that they are made for
}

// prepare starts a Postgres on disk and stores two plans, each with n keys: the first
// admits every request, the second one request a day.
func (p *product) prepare(ctx context.Context, folder string, n int) (err error) {
	p.folder, p.pepper, p.keys = folder, rand.Text(), map[string][]string{}
	data := filepath.Join(folder, "data")
	if p.postgres, err = devdb.Start(ctx, devdb.Config{DataDir: data, Log: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	for _, file := range must(filepath.Glob(filepath.Join(data, "postgres-*", "postmaster.pid"))) {
		if _, err := fmt.Sscan(string(must(os.ReadFile(file))), &p.postgresPID); err != nil {
			return err
		}
	}
	pool, err := postgres.Open(ctx, p.postgres.URL())
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := postgres.Migrate(ctx, pool, migrations.FS); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, p.postgres.URL()) // without the pool's statement timeout
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	policies := []ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 900_000, Period: "1s", Burst: highLimit},
		{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 60_000_000, Period: "1m"},
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: highLimit, Period: ratelimit.Month},
	}
	for _, path := range []string{productPath, spentPath} {
		if err := p.makeKeys(ctx, conn, path, policies, n); err != nil {
			return err
		}
		policies[0].Limit, policies[0].Period, policies[0].Burst = 1, "1d", 1
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE")
	return err
}

// makeKeys stores a plan and n keys that have it, each of an owner of its own. The
// first is created by the server's code, the others are rows like it.
func (p *product) makeKeys(ctx context.Context, db *pgx.Conn, path string, policies []ratelimit.Policy, n int) error {
	ctx, plan := models.WithActor(ctx, models.ActorCLI), filepath.Base(path)
	plans, peppers := quota.NewPlans(db, changefeed.NoCaches{}), must(apikeys.ParsePeppers(p.pepper))
	if _, _, err := plans.Put(ctx, models.NewPlan{Name: plan, Policies: policies}, models.Precondition{}); err != nil {
		return err
	}
	first, text, err := apikeys.NewStore(db, peppers, plans, changefeed.NoCaches{}).Create(ctx, models.NewKey{Name: "bench", Plan: plan})
	texts, ids, macs := []string{text}, []string{}, [][]byte{}
	for err == nil && len(texts) < n {
		var id string
		text, id, err = newKey()
		mac, _ := peppers.Hash(text)
		texts, ids, macs = append(texts, text), append(ids, id), append(macs, mac)
	}
	if err != nil {
		return err
	}
	p.keys[path] = texts
	_, err = db.Exec(ctx, `
		INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
		SELECT n.id, name, plan, 'own_' || n.id, n.id, scopes, n.mac, pepper_version
		FROM unnest($1::text[], $2::bytea[]) n (id, mac), api_keys first WHERE first.id = $3`, ids, macs, first.ID)
	return err
}

// newKey returns a key in the format of package apikeys, which checks it.
func newKey() (text, id string, err error) {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	random := rand.Text() + rand.Text() // base32, a part of base62
	text = "rl_live_" + random[:12] + "_" + random[12:12+22]
	var checksum [6]byte
	for i, sum := len(checksum)-1, crc32.ChecksumIEEE([]byte(text)); i >= 0; i, sum = i-1, sum/62 {
		checksum[i] = digits[sum%62]
	}
	text += string(checksum[:])
	id, err = apikeys.ParseID(text)
	return text, id, err
}

func (p *product) stop() error {
	if p.postgres == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return p.postgres.Stop(ctx)
}

// serve starts the server in production mode with default settings and its log, in
// JSON, in a file.
func (p *product) serve(ctx context.Context, binary string) (*process, error) {
	api, ops := freeAddress(), freeAddress()
	at := process{base: "http://" + api, log: filepath.Join(p.folder, "server.log"), metrics: "http://" + ops + "/metrics", database: p.postgresPID}
	return startProcess(ctx, at, "http://"+ops+"/readyz", []string{
		"DATABASE_URL=" + p.postgres.URL(), "KEY_PEPPER=" + p.pepper, "DATA_DIR=" + filepath.Join(p.folder, "server"),
		"LOG_FORMAT=json", "HTTP_ADDR=" + api, "OPS_ADDR=" + ops,
	}, binary, "serve")
}

// warm sends a request with each key of a load, which also spends the quota of keys
// that are admitted once.
func (p *product) warm(ctx context.Context, url string, l load) error {
	errs := make([]error, connections)
	var group sync.WaitGroup
	for first := range errs {
		group.Go(func() {
			for i := first; i < l.keys && errs[first] == nil; i += connections {
				_, errs[first] = get(ctx, url, p.keys[l.keysOf][i])
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// keyFile returns a file with the keys of a load.
func (p *product) keyFile(l load) (string, error) {
	file := filepath.Join(p.folder, fmt.Sprintf("keys-%s-%d", filepath.Base(l.keysOf), l.keys))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	return file, os.WriteFile(file, []byte(strings.Join(p.keys[l.keysOf][:l.keys], "\n")+"\n"), 0o600)
}
