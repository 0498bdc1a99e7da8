package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/config"
	"ratelimiter/internal/devdb"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/migrations"
	"ratelimiter/models"
)

// stopTimeout bounds the stop of a private Postgres that a command started.
const stopTimeout = 15 * time.Second

// withDatabase runs a command that may change the database, which it migrates first.
// Servers are notified of the changes.
func withDatabase(ctx context.Context, cfg *config.Config, to *console, do func(context.Context, *pgxpool.Pool) error) error {
	return openDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		if err := migrate(ctx, cfg, db); err != nil {
			return err
		}
		err := do(ctx, db)
		changefeed.Nudge(ctx, db)
		return err
	})
}

// readDatabase runs a command that changes nothing. It fails if migrations are
// pending, or if the private Postgres doesn't exist yet.
func readDatabase(ctx context.Context, cfg *config.Config, to *console, do func(context.Context, *pgxpool.Pool) error) error {
	if cfg.DatabaseURL == "" && !devdb.Exists(cfg.DataDir) {
		return fmt.Errorf("DATABASE_URL is not set, and there is no private Postgres in %s yet: 'ratelimiter serve --dev' or 'ratelimiter migrate' creates one", cfg.DataDir)
	}
	return openDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		pending, err := postgres.Pending(ctx, db, migrations.FS)
		if err != nil {
			return err
		}
		if pending {
			return errors.New("the schema of the database is older than this program: run 'ratelimiter migrate', or start this release with 'ratelimiter serve'")
		}
		return do(ctx, db)
	})
}

// openDatabase runs a command on the database: DATABASE_URL, or the private Postgres
// of a running server, or one started for this command. In its context the command
// line is the actor. Errors also: *postgres.ConnectionError.
func openDatabase(ctx context.Context, cfg *config.Config, to *console, do func(context.Context, *pgxpool.Pool) error) (err error) {
	url, name := cfg.DatabaseURL, "DATABASE_URL"
	if url == "" {
		private, err := devdb.OwnOrAttach(ctx, devdb.Config{DataDir: cfg.DataDir, Log: to.log, Terminal: to.terminal})
		if err != nil {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			err = errors.Join(err, private.Stop(ctx))
		}()
		url, name = private.URL(), privatePostgres
	}
	db, err := postgres.NewPool(url)
	if err != nil {
		return err
	}
	defer db.Close()
	if err = postgres.Check(ctx, db); err == nil {
		if err = do(models.WithActor(ctx, models.ActorCLI), db); !postgres.IsUnavailable(err) {
			return err
		}
	}
	return postgres.NewConnectionError(name, db, err)
}

// privatePostgres names the private Postgres in errors, where others have the name
// of a setting.
const privatePostgres = "private Postgres"

// migrate applies pending migrations, by a direct connection if there is one.
func migrate(ctx context.Context, cfg *config.Config, db *pgxpool.Pool) error {
	if cfg.ListenURL != "" {
		direct, err := postgres.NewPool(cfg.ListenURL, postgres.WithMaxConns(1))
		if err != nil {
			return err
		}
		defer direct.Close()
		if err := postgres.Check(ctx, direct); err != nil {
			return postgres.NewConnectionError("DATABASE_LISTEN_URL", direct, err)
		}
		if err := postgres.CheckSame(ctx, db, direct); err != nil {
			return err
		}
		db = direct
	}
	return postgres.Migrate(ctx, db, migrations.FS)
}

// withPeppers is withDatabase for commands that hash keys. Like serve, it rejects a
// pepper that the stored keys weren't hashed with.
func withPeppers(ctx context.Context, cfg *config.Config, to *console, do func(context.Context, *apikeys.Store) error) error {
	if err := cfg.LoadPeppers(false); err != nil {
		return err
	}
	return withDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		if err := apikeys.NewVerifier(db, cfg.Peppers).Check(ctx); err != nil {
			return err
		}
		return do(ctx, keyStore(db, cfg.Peppers))
	})
}

// keyStore returns the keys. Only creating and rotating need peppers.
func keyStore(db *pgxpool.Pool, peppers *apikeys.Peppers) *apikeys.Store {
	none := changefeed.NoCaches{}
	return apikeys.NewStore(db, peppers, quota.NewPlans(db, none), none)
}

// migrateCommand applies pending migrations.
type migrateCommand struct{}

// Run migrates the database.
func (*migrateCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	return withDatabase(ctx, cfg, to, func(context.Context, *pgxpool.Pool) error {
		_, err := fmt.Fprintln(to.out, "The schema is up to date.")
		return err
	})
}
