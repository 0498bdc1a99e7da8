package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/usage"
)

// maxClockDifference is what a clock that is kept by NTP never reaches.
const maxClockDifference = time.Second

func (d *diagnosis) checkClock(context.Context) finding {
	if ahead := d.facts.ClockAhead; ahead.Abs() > maxClockDifference+d.facts.ClockError {
		direction := "behind"
		if ahead < 0 {
			direction = "ahead of"
		}
		return warning(fmt.Sprintf("this machine's clock is %s %s the database's: keys expire and quotas begin at wrong times",
			ahead.Abs().Round(time.Millisecond), direction), "Synchronize both clocks, by NTP for example.")
	}
	return passed("equal to the database's, within %s", maxClockDifference)
}

// maxTransaction is longer than any transaction of the product. One that is open for
// longer keeps the changes after its start in what each instance reads again, and
// vacuum from removing rows.
const maxTransaction = time.Minute

// checkChanges applies where notifications work at all.
func (d *diagnosis) checkChanges(ctx context.Context) finding {
	if age := d.facts.Oldest; age > maxTransaction {
		return warning(fmt.Sprintf("a transaction of the server process %d is open for %s: it slows the change feed and vacuum", d.facts.OldestPID, age.Round(time.Second)),
			fmt.Sprintf("End it: SELECT pg_terminate_backend(%d)", d.facts.OldestPID))
	}
	direct := d.direct
	if direct == nil {
		if d.facts.Pooler {
			return finding{}
		}
		direct = d.db
	}
	if d.facts.Standby || d.facts.ReadOnly {
		return finding{}
	}
	took, arrived, err := changefeed.Probe(ctx, d.db, direct)
	switch {
	case err != nil:
		return warning(postgres.Cause(err), "Changes are in force on other instances within 10 s instead of 2 s.")
	case !arrived:
		return warning(fmt.Sprintf("a notification took more than %s", changefeed.Bound), "Look for a load on the database, or a proxy that drops notifications.")
	default:
		return passed("a notification took %s", took.Round(time.Millisecond/10))
	}
}

func (d *diagnosis) checkPartitions(ctx context.Context) finding {
	if d.pending {
		return finding{}
	}
	missing, err := usage.MissingPartitions(ctx, d.db)
	switch {
	case err != nil:
		return warning(oneLine(err), "Grant the role of DATABASE_URL the rights on its schema.")
	case len(missing) > 0:
		return warning("missing for now or soon: "+strings.Join(missing, ", "), "serve creates them at its start and every hour: if one is running, look for errors in its log.")
	default:
		return passed("exist for now and the next days")
	}
}

// reservedConnections are those of an instance besides its pool: the change feed, and
// a direct one at its start.
const reservedConnections = 2

// checkConnections doesn't apply to poolers, which have limits of their own.
func (d *diagnosis) checkConnections(context.Context) finding {
	if d.facts.Pooler {
		return finding{}
	}
	used, most := d.facts.Connections, d.facts.MaxConnections
	if needed := d.poolSize() + reservedConnections; most-used < needed {
		return warning(fmt.Sprintf("%d of %d are in use; an instance opens up to %d", used, most, needed),
			"Raise max_connections of the server, set pool_max_conns in DATABASE_URL, or use PgBouncer.")
	}
	return passed("%d of %d are in use", used, most)
}

// poolSize returns how many connections the pool of an instance has at most.
func (d *diagnosis) poolSize() int {
	pool, err := postgres.NewPool(d.cfg.DatabaseURL)
	if err != nil {
		return 0 // checkDatabase reports it
	}
	defer pool.Close()
	return int(pool.Config().MaxConns)
}
