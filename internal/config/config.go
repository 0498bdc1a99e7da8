// Package config reads and validates the settings of the server.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/apikeys"
	"ratelimiter/middleware"
)

// Settings are the flags that every command takes, each with its environment
// variable. They are plain text until Config has validated all of them together.
// In the help of other commands than serve, the tag for selects the settings that a
// command reads, and brief replaces help.
type Settings struct {
	DatabaseFile   string `for:"database" brief:"File with DATABASE_URL, or set DATABASE_URL." env:"DATABASE_URL_FILE" name:"database-url-file" placeholder:"PATH" help:"File that contains DATABASE_URL: Postgres 14 or newer. Neither set: a private Postgres in DATA_DIR."`
	ListenFile     string `for:"migrating" env:"DATABASE_LISTEN_URL_FILE" name:"database-listen-url-file" placeholder:"PATH" help:"File that contains DATABASE_LISTEN_URL: direct connection to the database when DATABASE_URL is a connection pooler, such as PgBouncer."`
	RedisFile      string `env:"REDIS_URL_FILE" name:"redis-url-file" placeholder:"PATH" help:"File that contains REDIS_URL: Redis 7 or newer, or Valkey, in which several instances share counters. Neither set: counters in memory."`
	RedisTimeout   string `env:"REDIS_TIMEOUT" default:"50ms" help:"How long a decision waits for Redis before it is made without."`
	HTTPAddr       string `env:"HTTP_ADDR" default:":8080" help:"Address of the API and its docs."`
	OpsAddr        string `env:"OPS_ADDR" default:"127.0.0.1:9090" help:"Address of health checks, metrics and profiles."`
	DataDir        string `for:"database" brief:"Folder of the private Postgres and the key pepper." env:"DATA_DIR" default:"./.data" help:"Folder of the private Postgres, the dev keys and emails, the key pepper and saved counters."`
	PepperFile     string `for:"hashing" brief:"File with KEY_PEPPER, or set KEY_PEPPER." env:"KEY_PEPPER_FILE" name:"key-pepper-file" placeholder:"PATH" help:"File that contains KEY_PEPPER: secret for hashing API keys; v2:NEW,v1:OLD rotates it. Neither set: the one in DATA_DIR, which dev mode creates."`
	TrustedProxies string `env:"TRUSTED_PROXIES" placeholder:"CIDR,…" help:"Networks whose X-Forwarded-For is trusted. Unset: none."`
	Origins        string `env:"CORS_ORIGINS" name:"cors-origins" placeholder:"ORIGIN,…" help:"Origins whose pages may call the API from a browser, such as https://shop.example, or * for all. Unset: none."`
	ShutdownDelay  string `env:"SHUTDOWN_DELAY" default:"0s" help:"How long to keep serving, as not ready, after SIGTERM."`
	CacheKeys      string `env:"CACHE_KEYS" default:"100000" help:"Keys kept in memory, at about 1 KB each; one with many overrides of its own counts as several."`
	CacheTTL       string `env:"CACHE_TTL" default:"60s" help:"How long a cached quota is fresh after its load, or after the last read of the change log if that is later."`
	CacheStale     string `env:"CACHE_STALE" default:"10m" help:"How long a stale quota may be served while it is loaded again, or Postgres is down or hangs."`
	Queue          string `env:"QUEUE" default:"postgres" help:"What brings messages to the workers: postgres, rabbitmq, kafka or sqs."`
	QueuePrefix    string `env:"QUEUE_PREFIX" default:"ratelimiter" help:"Start of the names of queues and topics in a broker that several installations share."`
	RabbitMQFile   string `env:"RABBITMQ_URL_FILE" name:"rabbitmq-url-file" placeholder:"PATH" help:"File that contains RABBITMQ_URL, for QUEUE=rabbitmq: amqps://user:pass@host/vhost."`
	KafkaFile      string `env:"KAFKA_BROKERS_FILE" name:"kafka-brokers-file" placeholder:"PATH" help:"File that contains KAFKA_BROKERS, for QUEUE=kafka: host:9092,host:9092 or tls://user:pass@host:9093,host:9093."`
	SQSEndpoint    string `env:"SQS_ENDPOINT" name:"sqs-endpoint" placeholder:"URL" help:"Address of SQS, for QUEUE=sqs. Unset: that of AWS_REGION. Credentials are found as by the AWS tools."`
	RetryBase      string `env:"RETRY_BASE" default:"1s" help:"Longest delay before the second delivery of a failed message. It doubles with each attempt; the delays are random, up to it."`
	RetryCap       string `env:"RETRY_CAP" default:"5m" help:"Longest delay between two deliveries of a failed message."`
	RetryAttempts  string `env:"RETRY_MAX_ATTEMPTS" name:"retry-max-attempts" default:"8" help:"Deliveries of a message, after which it becomes a dead letter."`
	PaymentFile    string `env:"PAYMENT_URL_FILE" name:"payment-url-file" placeholder:"PATH" help:"File that contains PAYMENT_URL: the payment gateway that orders are charged at. Neither set: the built-in one in dev mode; otherwise no orders are accepted."`
	SMTPFile       string `env:"SMTP_URL_FILE" name:"smtp-url-file" placeholder:"PATH" help:"File that contains SMTP_URL: the mail server, as smtp://user:pass@host:587?from=a@example.com. Neither set: files in DATA_DIR in dev mode; otherwise emails wait."`
	DatabaseURL    secret `name:"database-url" env:"-" hidden:""`
	ListenURL      secret `name:"database-listen-url" env:"-" hidden:""`
	KeyPepper      secret `name:"key-pepper" env:"-" hidden:""`
	RedisURL       secret `name:"redis-url" env:"-" hidden:""`
	PaymentURL     secret `name:"payment-url" env:"-" hidden:""`
	SMTPURL        secret `name:"smtp-url" env:"-" hidden:""`
	RabbitMQURL    secret `name:"rabbitmq-url" env:"-" hidden:""`
	KafkaBrokers   secret `name:"kafka-brokers" env:"-" hidden:""`
	Headers        string `env:"RATELIMIT_HEADERS" name:"ratelimit-headers" default:"draft11" help:"Header fields that report limits: draft11, legacy (X-RateLimit-*) or both."`
	LogFormat      string `env:"LOG_FORMAT" default:"auto" help:"Format of the log: text, json, or auto, which is text on a terminal and json elsewhere."`
	LogLevel       string `env:"LOG_LEVEL" default:"info" help:"What is logged: debug (also health checks and pages of the docs), info, warn or error."`
}

// Config is the validated settings.
type Config struct {
	DatabaseURL    string        // empty: the private Postgres
	ListenURL      string        // empty: DatabaseURL
	RedisURL       string        // empty: counters are in memory
	RedisTimeout   time.Duration // of one call
	HTTPAddr       string
	OpsAddr        string
	DataDir        string
	TrustedProxies []netip.Prefix
	Origins        []string      // whose pages may read responses; none: no CORS
	ShutdownDelay  time.Duration // from the signal to the drain
	CacheKeys      int
	CacheTTL       time.Duration
	CacheStale     time.Duration
	Queue          Queue
	RetryBase      time.Duration // longest delay after the first attempt
	RetryCap       time.Duration
	RetryAttempts  int
	PaymentURL     string // without a slash at its end; see PaymentGateway
	SMTP           *SMTP  // nil: not set
	Headers        middleware.Fields
	LogFormat      LogFormat
	LogLevel       slog.Level
	Peppers        *apikeys.Peppers // nil until LoadPeppers
}

// Error is a fault of settings or of the command line.
type Error struct{ error }

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.error }

// NewError returns a *Error with this message.
func NewError(message string) error { return &Error{errors.New(message)} }

// Bounds of the cache. Below a second a cache has no effect; a day is
// the longest that a server should run on stale quotas.
// A thousand keys fit any machine; ten million take 10 GB.
const (
	minCacheKeys  = 1_000
	maxCacheKeys  = 10_000_000
	minCacheTTL   = time.Second
	maxCacheTTL   = time.Hour
	maxCacheStale = 24 * time.Hour
)

// Bounds of the retries of messages. Delays below a few milliseconds are the
// queue's own; a day is longer than an outage that nobody notices.
const (
	minRetry         = time.Millisecond
	maxRetry         = 24 * time.Hour
	maxRetryAttempts = 100
)

// maxShutdownDelay exceeds what load balancers take to notice that an instance
// isn't ready.
const maxShutdownDelay = 5 * time.Minute

// Bounds of a call of Redis. A server on the same network answers within 5 ms, if it
// isn't paused by its own work. A request waits for the timeout when Redis is lost.
const (
	minRedisTimeout = 5 * time.Millisecond
	maxRedisTimeout = 5 * time.Second
)

// Config validates every setting. The error is a *Error that lists all faults.
func (s *Settings) Config() (*Config, error) {
	var faults []error
	fault := func(name string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	cfg := &Config{HTTPAddr: s.HTTPAddr, OpsAddr: s.OpsAddr}
	var err error
	cfg.DatabaseURL, err = readSecret("DATABASE_URL", s.DatabaseFile)
	fault("DATABASE_URL", cmp.Or(err, checkDatabaseURL(cfg.DatabaseURL)))
	cfg.ListenURL, err = readSecret("DATABASE_LISTEN_URL", s.ListenFile)
	fault("DATABASE_LISTEN_URL", cmp.Or(err, checkListenURL(cfg.ListenURL, cfg.DatabaseURL)))
	cfg.RedisURL, err = readSecret("REDIS_URL", s.RedisFile)
	fault("REDIS_URL", cmp.Or(err, checkRedisURL(cfg.RedisURL)))
	cfg.RedisTimeout, err = parseDuration(s.RedisTimeout, minRedisTimeout, maxRedisTimeout)
	fault("REDIS_TIMEOUT", err)
	fault("HTTP_ADDR", checkAddr(s.HTTPAddr))
	fault("OPS_ADDR", checkAddr(s.OpsAddr))
	cfg.DataDir, err = parseFolder(s.DataDir)
	fault("DATA_DIR", err)
	cfg.TrustedProxies, err = parseNetworks(s.TrustedProxies)
	fault("TRUSTED_PROXIES", err)
	cfg.Origins, err = parseOrigins(s.Origins)
	fault("CORS_ORIGINS", err)
	cfg.ShutdownDelay, err = parseDuration(s.ShutdownDelay, 0, maxShutdownDelay)
	fault("SHUTDOWN_DELAY", err)
	cfg.CacheKeys, err = parseNumber(s.CacheKeys, minCacheKeys, maxCacheKeys)
	fault("CACHE_KEYS", err)
	cfg.CacheTTL, err = parseDuration(s.CacheTTL, minCacheTTL, maxCacheTTL)
	fault("CACHE_TTL", err)
	cfg.CacheStale, err = parseDuration(s.CacheStale, 0, maxCacheStale)
	fault("CACHE_STALE", err)
	s.processing(cfg, fault)
	cfg.Headers, err = parseFields(s.Headers)
	fault("RATELIMIT_HEADERS", err)
	cfg.LogFormat, err = parseLogFormat(s.LogFormat)
	fault("LOG_FORMAT", err)
	cfg.LogLevel, err = parseLogLevel(s.LogLevel)
	fault("LOG_LEVEL", err)
	pepper, err := readSecret("KEY_PEPPER", s.PepperFile)
	if err == nil && pepper != "" {
		cfg.Peppers, err = apikeys.ParsePeppers(pepper)
	}
	fault("KEY_PEPPER", err)
	if err := errors.Join(faults...); err != nil {
		return nil, &Error{err}
	}
	return cfg, nil
}

// processing validates the settings of what processes orders.
func (s *Settings) processing(cfg *Config, fault func(name string, err error)) {
	var err error
	cfg.RetryCap, err = parseDuration(s.RetryCap, minRetry, maxRetry)
	fault("RETRY_CAP", err)
	cfg.RetryBase, err = parseDuration(s.RetryBase, minRetry, max(minRetry, cfg.RetryCap))
	fault("RETRY_BASE", err)
	cfg.RetryAttempts, err = parseNumber(s.RetryAttempts, 1, maxRetryAttempts)
	fault("RETRY_MAX_ATTEMPTS", err)
	s.queue(cfg, fault)
	cfg.PaymentURL, err = readSecret("PAYMENT_URL", s.PaymentFile)
	fault("PAYMENT_URL", cmp.Or(err, checkPaymentURL(cfg.PaymentURL)))
	cfg.PaymentURL = strings.TrimRight(cfg.PaymentURL, "/")
	address, err := readSecret("SMTP_URL", s.SMTPFile)
	if err == nil {
		cfg.SMTP, err = parseSMTPURL(address)
	}
	fault("SMTP_URL", err)
}

// LoadPeppers makes sure that keys can be hashed: with KEY_PEPPER, or with the
// pepper in DATA_DIR, which is created if missing and create is set.
func (cfg *Config) LoadPeppers(create bool) error {
	if cfg.Peppers != nil {
		return nil
	}
	var err error
	cfg.Peppers, err = apikeys.LoadPeppers(cfg.DataDir, create)
	if errors.Is(err, os.ErrNotExist) {
		return &Error{fmt.Errorf("KEY_PEPPER: is not set, and %s contains no pepper: "+
			"set it, or KEY_PEPPER_FILE to a file with it, to a random secret, such as the output of 'openssl rand -hex 32', or run 'serve --dev', which creates one", cfg.DataDir)}
	}
	return err
}

func checkDatabaseURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("must look like postgres://user:password@host:5432/database") // the value is not repeated because it contains a password
	}
	_, err = pgx.ParseConfig(text) // masks the password in its errors
	return err
}

func checkListenURL(text, databaseURL string) error {
	if text != "" && databaseURL == "" {
		return errors.New("needs DATABASE_URL, whose database it is another connection to")
	}
	return checkDatabaseURL(text)
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
		return fmt.Errorf("%q is not an address to listen on: %w", text, err)
	}
	return nil
}

func parseNetworks(list string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	var faults []error
	for _, part := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		network, err := netip.ParsePrefix(part)
		if addr, addrErr := netip.ParseAddr(part); addrErr == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%q must be a network, such as 10.0.0.0/8", part))
			continue
		}
		networks = append(networks, network)
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

func parseNumber(text string, least, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q must be a whole number from %d to %d", text, least, most)
	}
	return n, nil
}
