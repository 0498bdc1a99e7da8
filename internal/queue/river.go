package queue

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

const (
	// fetchCooldown is the least time between two fetches of a group. River's
	// default of 100 ms would be most of a message's latency.
	fetchCooldown = 5 * time.Millisecond
	// schedulerInterval is how often River makes jobs available whose time has
	// come. It is River's and can't be set.
	schedulerInterval = 5 * time.Second
)

// driver is River's for pgx, with LISTEN on another pool, because db may be that
// of a connection pooler.
type driver struct {
	*riverpgxv5.Driver
	listen *riverpgxv5.Driver
}

func newDriver(db, listen *pgxpool.Pool) *driver {
	return &driver{riverpgxv5.New(db), riverpgxv5.New(listen)}
}

// GetListener returns a listener on the other pool.
func (d *driver) GetListener(params *riverdriver.GetListenenerParams) riverdriver.Listener {
	return d.listen.GetListener(params)
}

// baseConfig is what the client that inserts and the one that works share.
func baseConfig(log *slog.Logger) *river.Config {
	return &river.Config{
		FetchCooldown: fetchCooldown, // also of notifications about inserts
		Hooks:         []rivertype.Hook{&insertTimes{}},
		Logger:        slog.New(warnings{log.Handler()}),
		MaxAttempts:   math.MaxInt16,
	}
}

// insertTimes corrects the times of new jobs. A job that is due now, as periodic
// jobs are, gets the database's time, because the local clock may be ahead of it. One that is due
// before the scheduler runs again is available at once: fetches, at least one a
// second, leave it until its time has come.
type insertTimes struct{ river.HookDefaults }

// InsertBegin implements rivertype.HookInsertBegin.
func (*insertTimes) InsertBegin(_ context.Context, job *rivertype.JobInsertParams) error {
	switch {
	case job.ScheduledAt == nil || job.Kind == periodicKind:
		job.ScheduledAt = new(time.Time) // the driver replaces it by now()
		job.State = rivertype.JobStateAvailable
	case time.Until(*job.ScheduledAt) <= schedulerInterval:
		job.State = rivertype.JobStateAvailable
	}
	return nil
}

// reindexed are River's indexes that its nightly reindexing covers: without the
// one on the arguments, which a migration drops.
func reindexed() []string {
	return slices.DeleteFunc(river.ReindexerIndexNamesDefault(), func(name string) bool { return name == "river_job_args_index" })
}

// warnings is a handler that drops River's records below slog.LevelWarn, which
// are about each job.
type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }
