package quota

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/models"
)

// Bounds of shared reads. Four queries keep four cores of Postgres busy, and leave
// most connections to others.
const (
	maxQueries   = 4
	keysPerQuery = 100
)

// keyReads reads keys with their plans. A read begins a query at once while fewer
// than maxQueries run; reads that have to wait share the next ones. It is safe for
// concurrent use.
type keyReads struct {
	db *pgxpool.Pool

	mu      sync.Mutex
	queries int        // running
	waiting []*keyRead // while maxQueries run; in the order of their arrival
}

// keyRead is a read that waits.
type keyRead struct {
	id    string
	query chan []*keyRead // receives what to read, if this read is to run the query
	done  chan struct{}   // closed when another read has set the result
	row   keyAndPlan
	err   error
}

// read returns the key with this id. The caller's deadline may end a query that
// others share: the callers of read have equal timeouts, and the read that runs a
// query is the last of its reads to time out. Errors: models.ErrNotFound,
// models.ErrUnavailable.
func (k *keyReads) read(ctx context.Context, id string) (keyAndPlan, error) {
	r := &keyRead{id: id, query: make(chan []*keyRead, 1), done: make(chan struct{})}
	batch := k.enter(r)
	if batch == nil {
		select {
		case batch = <-r.query:
		case <-r.done:
			return r.row, r.err
		case <-ctx.Done():
			if batch = k.abandon(r); batch == nil {
				return keyAndPlan{}, unavailable(ctx.Err())
			}
		}
	}
	defer k.leave() // also if a panic ends the load
	k.run(ctx, batch)
	for _, other := range batch {
		close(other.done)
	}
	return r.row, r.err
}

// enter returns what r is to read now, or nil if it has to wait.
func (k *keyReads) enter(r *keyRead) []*keyRead {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.queries == maxQueries {
		k.waiting = append(k.waiting, r)
		return nil
	}
	k.queries++
	return []*keyRead{r}
}

// leave ends a query. If reads wait, it has the last of the next ones run another.
func (k *keyReads) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.waiting) == 0 {
		k.queries--
		return
	}
	n := min(len(k.waiting), keysPerQuery)
	batch := slices.Clone(k.waiting[:n])
	k.waiting = slices.Delete(k.waiting, 0, n)
	batch[n-1].query <- batch
}

// abandon ends r's wait. If r has to run a query, it returns what to read.
func (k *keyReads) abandon(r *keyRead) []*keyRead {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = slices.DeleteFunc(k.waiting, func(w *keyRead) bool { return w == r })
	select {
	case batch := <-r.query:
		return batch
	default:
		return nil
	}
}

// run reads a batch in one query and sets the results. If a row can't be decoded,
// it halves the batch until only that row's read fails.
func (k *keyReads) run(ctx context.Context, batch []*keyRead) {
	ids := make([]string, len(batch))
	for i, r := range batch {
		ids[i] = r.id
	}
	keys, err := readKeys(ctx, k.db, ids...)
	if fault := (pgx.ScanArgError{}); len(batch) > 1 && errors.As(err, &fault) {
		half := len(batch) / 2
		k.run(ctx, batch[:half])
		k.run(ctx, batch[half:])
		return
	}
	byID := make(map[string]*keyAndPlan, len(keys))
	for i := range keys {
		byID[keys[i].ID] = &keys[i]
	}
	for _, r := range batch {
		switch row, found := byID[r.id]; {
		case err != nil:
			r.err = err
		case !found:
			r.err = models.ErrNotFound
		default:
			r.row = *row
		}
	}
}
