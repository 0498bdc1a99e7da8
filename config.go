package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/apikeys"
	"ratelimiter/middleware"
)

// settings are the flags that every command takes, each with its environment
// variable. They stay text until config has read them all, so that one error
// can list every fault.
type settings struct {
	DatabaseURL    string `env:"DATABASE_URL" placeholder:"URL" help:"Postgres 14 or newer. Unset: a private Postgres in DATA_DIR."`
	HTTPAddr       string `env:"HTTP_ADDR" default:":8080" help:"Where the API and its docs listen."`
	OpsAddr        string `env:"OPS_ADDR" default:"127.0.0.1:9090" help:"Where health checks and profiles listen."`
	DataDir        string `env:"DATA_DIR" default:"./.data" help:"Folder of the private Postgres and the dev keys."`
	KeyPepper      string `env:"KEY_PEPPER" placeholder:"SECRET" help:"Secret that API keys are hashed with: v2:NEW,v1:OLD rotates it. Unset: the one in DATA_DIR, which dev mode makes."`
	TrustedProxies string `env:"TRUSTED_PROXIES" placeholder:"CIDR,…" help:"Networks whose X-Forwarded-For is believed. Unset: none."`
	Origins        string `env:"CORS_ORIGINS" name:"cors-origins" placeholder:"ORIGIN,…" help:"Origins whose pages may call the API from a browser, such as https://shop.example, or * for all. Unset: none."`
	CacheTTL       string `env:"CACHE_TTL" default:"60s" help:"How long a quota in memory is fresh."`
	CacheStale     string `env:"CACHE_STALE" default:"10m" help:"How long a stale quota may be served while Postgres is down."`
	Headers        string `env:"RATELIMIT_HEADERS" name:"ratelimit-headers" default:"draft11" help:"Which header fields tell a caller where it stands: draft11, legacy (X-RateLimit-*) or both."`
}

// config is settings, checked.
type config struct {
	databaseURL    string // empty: the private Postgres
	httpAddr       string
	opsAddr        string
	dataDir        string
	trustedProxies []string
	origins        []string // whose pages may read answers; none: no CORS
	cacheTTL       time.Duration
	cacheStale     time.Duration
	headers        middleware.Fields
	peppers        *apikeys.Peppers
}

// Bounds of the cache's times. Below a second a cache would be no cache; a day
// of stale quotas is longer than anybody should run without a database.
const (
	minCacheTTL   = time.Second
	maxCacheTTL   = time.Hour
	maxCacheStale = 24 * time.Hour
)

// config checks every setting. The error lists all faults.
func (s *settings) config() (*config, error) {
	var faults []error
	fault := func(name string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	cfg := &config{databaseURL: s.DatabaseURL, httpAddr: s.HTTPAddr, opsAddr: s.OpsAddr}
	var err error
	fault("DATABASE_URL", checkDatabaseURL(s.DatabaseURL))
	fault("HTTP_ADDR", checkAddr(s.HTTPAddr))
	fault("OPS_ADDR", checkAddr(s.OpsAddr))
	cfg.dataDir, err = parseFolder(s.DataDir)
	fault("DATA_DIR", err)
	cfg.trustedProxies, err = parseNetworks(s.TrustedProxies)
	fault("TRUSTED_PROXIES", err)
	cfg.origins, err = parseOrigins(s.Origins)
	fault("CORS_ORIGINS", err)
	cfg.cacheTTL, err = parseDuration(s.CacheTTL, minCacheTTL, maxCacheTTL)
	fault("CACHE_TTL", err)
	cfg.cacheStale, err = parseDuration(s.CacheStale, 0, maxCacheStale)
	fault("CACHE_STALE", err)
	cfg.headers, err = parseFields(s.Headers)
	fault("RATELIMIT_HEADERS", err)
	if s.KeyPepper != "" {
		cfg.peppers, err = apikeys.ParsePeppers(s.KeyPepper)
		fault("KEY_PEPPER", err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, &usageError{err}
	}
	return cfg, nil
}

// withPeppers makes sure that keys can be hashed: with KEY_PEPPER, else with
// what DATA_DIR holds, which makeMissing lets it make.
func (cfg *config) withPeppers(makeMissing bool) error {
	if cfg.peppers != nil {
		return nil
	}
	var err error
	cfg.peppers, err = apikeys.PeppersIn(cfg.dataDir, makeMissing)
	if errors.Is(err, os.ErrNotExist) {
		return &usageError{fmt.Errorf("KEY_PEPPER: is not set, and %s holds none: "+
			"set it to a random secret, such as the output of 'openssl rand -hex 32', or run 'serve --dev', which makes one", cfg.dataDir)}
	}
	return err
}

func checkDatabaseURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("must look like postgres://user:password@host:5432/database") // never repeated: it holds a password
	}
	_, err = pgx.ParseConfig(text) // its errors have the password masked
	return err
}

func parseFolder(text string) (string, error) {
	if text == "" {
		return "", errors.New("must not be empty; the current folder is .")
	}
	return filepath.Abs(text)
}

func parseFields(text string) (middleware.Fields, error) {
	switch fields := middleware.Fields(text); fields {
	case middleware.FieldsDraft11, middleware.FieldsLegacy, middleware.FieldsBoth:
		return fields, nil
	default:
		return "", fmt.Errorf("%q must be draft11, legacy or both", text)
	}
}

func checkAddr(text string) error {
	if _, _, err := net.SplitHostPort(text); err != nil {
		return fmt.Errorf("%q must be host:port, such as :8080 or 127.0.0.1:9090", text)
	}
	if _, err := net.ResolveTCPAddr("tcp", text); err != nil {
		return fmt.Errorf("%q is no address that can be listened on: %w", text, err)
	}
	return nil
}

func parseNetworks(list string) ([]string, error) {
	var networks []string
	var faults []error
	for _, part := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if addr, err := netip.ParseAddr(part); err == nil {
			part = netip.PrefixFrom(addr, addr.BitLen()).String()
		}
		if _, err := netip.ParsePrefix(part); err != nil {
			faults = append(faults, fmt.Errorf("%q must be a network, such as 10.0.0.0/8", part))
			continue
		}
		networks = append(networks, part)
	}
	return networks, errors.Join(faults...)
}

func parseDuration(text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q must be a duration, such as 60s or 10m", text)
	}
	if d < least || d > most {
		return 0, fmt.Errorf("%s must be from %s to %s", d, least, most)
	}
	return d, nil
}
