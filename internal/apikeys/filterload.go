package apikeys

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"
)

// live selects the keys that aren't revoked or expired.
const live = `k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())`

// tagsQuery returns a row for each id, also without a key, so that the response
// doesn't depend on whether there is one.
const tagsQuery = `
	SELECT v.id, k.mac FROM unnest($1::text[]) v (id) LEFT JOIN api_keys k ON k.id = v.id AND ` + live

// pageQuery returns the live keys after an id. Pages bound the time of a
// statement. Their snapshots differ, but each is later than the invalidation
// that asks for them, and later changes are invalidations of their own.
const pageQuery = `SELECT k.id, k.mac FROM api_keys k WHERE k.id > $1 AND ` + live + ` ORDER BY k.id LIMIT $2`

// Name returns "key filter".
func (*Filter) Name() string { return "key filter" }

// Start begins to read what is invalidated.
func (f *Filter) Start(ctx context.Context) error {
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.ended.Go(func() { f.run(ctx) })
	return nil
}

// Stop ends the reads.
func (f *Filter) Stop(context.Context) error {
	f.cancel()
	f.ended.Wait()
	return nil
}

func (f *Filter) run(ctx context.Context) {
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
		for err := f.read(ctx); err != nil; err = f.read(ctx) {
			timer := time.NewTimer(filterRetry)
			select {
			case <-timer.C:
				f.log.Warn("key filter: reading keys failed; unknown keys are looked up", "error", err)
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}

// read reads what was invalidated. After an error it is invalid again.
func (f *Filter) read(ctx context.Context) error {
	f.mu.Lock()
	all, ids := f.all, make([]string, 0, len(f.changed))
	for id := range f.changed {
		ids = append(ids, id)
	}
	f.all = false
	clear(f.changed)
	f.mu.Unlock()

	var err error
	if all {
		err = f.readAll(ctx)
	}
	if err == nil && len(ids) > 0 {
		err = f.query(ctx, tagsQuery, ids, f.put)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.all = f.all || all
		for _, id := range ids {
			f.changed[id] = struct{}{}
		}
		return err
	}
	if all && !f.all { // not invalidated again
		f.loaded = true
	}
	return nil
}

// readAll reads all live keys, page by page.
func (f *Filter) readAll(ctx context.Context) error {
	for last := ""; ; {
		count := 0
		err := f.query(ctx, pageQuery, last, func(id string, tag uint64) {
			last = id
			count++
			f.put(id, tag)
		}, filterPage)
		if err != nil || count < filterPage {
			return err
		}
	}
}

// put sets the tag of a key that hasn't changed since the query.
func (f *Filter) put(id string, tag uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.changed[id]; !again {
		f.set(id, tag)
	}
}

// query calls found with each row's id and tag; 0: there is no such live key.
func (f *Filter) query(ctx context.Context, sql string, first any, found func(id string, tag uint64), more ...any) error {
	ctx, cancel := context.WithTimeout(ctx, filterTimeout)
	defer cancel()
	rows, err := f.db.Query(ctx, sql, append([]any{first}, more...)...)
	if err != nil {
		return err
	}
	var id string
	var mac []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &mac}, func() error {
		found(id, tagOf(mac))
		return nil
	})
	return err
}

// tagOf returns 63 bits of a MAC, and never 0; without a MAC it returns 0. What
// passes by chance is then verified against the whole MAC.
func tagOf(mac []byte) uint64 {
	if len(mac) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(mac) | 1
}

// hasTag reports whether a key's MAC under any pepper has this tag. It computes
// all of them in any case, so that its time depends on neither.
func (p *Peppers) hasTag(key string, tag uint64) bool {
	found := false
	for _, secret := range p.versions {
		found = tagOf(sum(secret, key)) == tag || found
	}
	return found
}
