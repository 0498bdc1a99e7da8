package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/config"
	"ratelimiter/internal/devdb"
	"ratelimiter/internal/postgres"
	"ratelimiter/migrations"
)

func passed(format string, args ...any) finding {
	return finding{Result: resultOK, Found: fmt.Sprintf(format, args...)}
}

func warning(found, advice string) finding {
	return finding{Result: resultWarning, Found: found, Advice: advice}
}

func failure(found, advice string) finding {
	return finding{Result: resultFailure, Found: found, Advice: advice}
}

func (d *diagnosis) checkSettings(context.Context) finding {
	cfg, err := d.settings.Config()
	if err != nil {
		return failure(err.Error(), "Other checks need valid settings.")
	}
	d.cfg = cfg
	return passed("all valid")
}

func (d *diagnosis) checkVersions(context.Context) finding {
	return passed("ratelimiter %s, %s, %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func (d *diagnosis) checkDatabase(ctx context.Context) finding {
	url, name := d.cfg.DatabaseURL, "DATABASE_URL"
	if url == "" {
		if url = devdb.RunningURL(ctx, d.cfg.DataDir); url == "" {
			return passed("private Postgres, which isn't running: serve starts one")
		}
		name = privatePostgres
	}
	db, err := postgres.NewPool(url, postgres.WithMaxConns(1))
	if err != nil {
		return failure(oneLine(err), "")
	}
	if err = postgres.Check(ctx, db); err == nil {
		d.facts, err = postgres.Inspect(ctx, db)
	}
	if err != nil {
		db.Close()
		return failure(postgres.NewConnectionError(name, db, err).Error(), "Check host, port, account and firewall, and that Postgres 14 or newer runs.")
	}
	d.db = db
	return passed("Postgres %s at %s:%d", d.facts.Version, db.Config().ConnConfig.Host, db.Config().ConnConfig.Port)
}

func (d *diagnosis) checkSchema(ctx context.Context) (f finding) {
	pending, err := postgres.Pending(ctx, d.db, migrations.FS)
	if err != nil {
		return failure(oneLine(err), "Grant the role of DATABASE_URL the rights on its schema.")
	}
	d.pending = pending
	if pending {
		return warning("migrations are pending", "serve applies them at its start, and so does 'ratelimiter migrate'.")
	}
	applied, known, err := postgres.SchemaVersions(ctx, d.db, migrations.FS)
	switch {
	case err != nil:
		return failure(oneLine(err), "Grant the role of DATABASE_URL the rights on its schema.")
	case applied > known:
		return warning(fmt.Sprintf("version %d, newer than this program's %d", applied, known), "Run the release that migrated the database, unless you roll back.")
	default:
		return passed("version %d, current", applied)
	}
}

func (d *diagnosis) checkPepper(ctx context.Context) finding {
	if err := d.cfg.LoadPeppers(false); err != nil {
		if _, missing := errors.AsType[*config.Error](err); !missing {
			return failure(oneLine(err), "")
		}
		if d.dev {
			return passed("KEY_PEPPER is not set: 'serve --dev' creates a pepper in DATA_DIR")
		}
		return failure("KEY_PEPPER is not set, and DATA_DIR contains no pepper",
			"Set it to a random secret, such as the output of 'openssl rand -hex 32', or run 'serve --dev', which creates one.")
	}
	if d.db == nil || d.pending {
		return passed("is set")
	}
	if err := apikeys.NewVerifier(d.db, d.cfg.Peppers).Check(ctx); err != nil {
		return failure(err.Error(), "")
	}
	return passed("is set, and no stored key contradicts it")
}

func (d *diagnosis) checkWrites(context.Context) finding {
	switch {
	case d.facts.Standby:
		return failure("the database is a standby", "Set DATABASE_URL to the primary.")
	case !d.facts.ReadOnly:
		return passed("accepted")
	}
	found, advice := "the database is read-only: changes fail", "Check default_transaction_read_only of the server, the database and the role."
	if d.pending {
		return failure(found, advice)
	}
	return warning(found, advice)
}

func (d *diagnosis) checkEncoding(context.Context) finding {
	if d.facts.Encoding == "UTF8" {
		return passed("UTF8")
	}
	return warning("the database's encoding is "+d.facts.Encoding+": texts with other characters are rejected",
		"Create the database with ENCODING 'UTF8', and move the data there.")
}

const wantDirect = "Set DATABASE_LISTEN_URL to the URL of a direct connection to the same database."

func (d *diagnosis) checkListen(ctx context.Context) finding {
	direct := d.facts
	if d.cfg.ListenURL != "" {
		db, err := postgres.NewPool(d.cfg.ListenURL, postgres.WithMaxConns(1))
		if err != nil {
			return failure(oneLine(err), "")
		}
		d.direct = db
		if direct, err = postgres.Inspect(ctx, db); err == nil {
			err = postgres.CheckSame(ctx, d.db, db)
		}
		if errors.Is(err, postgres.ErrOtherDatabase) {
			return failure(err.Error(), wantDirect)
		}
		if err != nil {
			return failure(postgres.NewConnectionError("DATABASE_LISTEN_URL", db, err).Error(), wantDirect)
		}
	}
	switch {
	case direct.Pooler && d.pending:
		return failure("no direct connection, which the pending migrations need", wantDirect)
	case direct.Pooler:
		return warning("a connection pooler: changes are in force on other instances within 10 s instead of 2 s", wantDirect)
	case d.facts.Pooler:
		return passed("DATABASE_URL is a connection pooler, DATABASE_LISTEN_URL a direct connection")
	default:
		return passed("a direct connection")
	}
}

// checkTimeouts applies to poolers: otherwise the connections set the timeout.
func (d *diagnosis) checkTimeouts(context.Context) finding {
	switch {
	case !d.facts.Pooler:
		return finding{}
	case d.facts.StatementTimeout != "0":
		return passed("statement_timeout is %s", d.facts.StatementTimeout)
	default:
		return warning("the role has no statement_timeout, and the program can't set one through a pooler",
			"ALTER ROLE … SET statement_timeout = '15s'; ALTER ROLE … SET idle_in_transaction_session_timeout = '15s'")
	}
}

func (d *diagnosis) checkDurability(context.Context) finding {
	if len(d.facts.Off) == 0 {
		return passed("fsync, synchronous_commit and full_page_writes are on")
	}
	return warning("off: "+strings.Join(d.facts.Off, ", ")+"; a crash may lose calendar quotas and orders", "Turn them on in the server's settings.")
}

// oneLine returns the text of an error in one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
