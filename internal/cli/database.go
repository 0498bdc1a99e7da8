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

// withDatabase runs a command on the migrated database: DATABASE_URL, or the
// private Postgres of a running server, or one started for this command. In its
// context the command line is the actor.
func withDatabase(ctx context.Context, cfg *config.Config, to *console, do func(context.Context, *pgxpool.Pool) error) (err error) {
	url := cfg.DatabaseURL
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
		url = private.URL()
	}
	db, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := migrate(ctx, cfg, db); err != nil {
		return err
	}
	err = do(models.WithActor(ctx, models.ActorCLI), db)
	changefeed.Nudge(ctx, db)
	return err
}

// migrate applies pending migrations, by a direct connection if there is one.
func migrate(ctx context.Context, cfg *config.Config, db *pgxpool.Pool) error {
	if cfg.ListenURL != "" {
		direct, err := postgres.NewPool(cfg.ListenURL, postgres.WithMaxConns(1))
		if err != nil {
			return err
		}
		defer direct.Close()
		if err := postgres.CheckSame(ctx, db, direct); err != nil {
			return err
		}
		db = direct
	}
	return postgres.Migrate(ctx, db, migrations.FS)
}

// withKeys is withDatabase for commands on keys. Like serve, it rejects a pepper
// that the stored keys weren't hashed with.
func withKeys(ctx context.Context, cfg *config.Config, to *console, do func(context.Context, *apikeys.Store) error) error {
	if err := cfg.LoadPeppers(false); err != nil {
		return err
	}
	return withDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		if err := apikeys.NewVerifier(db, cfg.Peppers).Check(ctx); err != nil {
			return err
		}
		none := changefeed.NoCaches{}
		return do(ctx, apikeys.NewStore(db, cfg.Peppers, quota.NewPlans(db, none), none))
	})
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
