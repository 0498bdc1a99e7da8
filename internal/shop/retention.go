package shop

import (
	"context"
	"log/slog"
	"time"
)

// How old idempotency keys are removed: a batch takes some milliseconds, and as
// many batches run in a row as there is work for. A minute keeps the table near
// a day's size.
const (
	pruneBatch    = 1_000
	pruneInterval = time.Minute
	pruneTimeout  = 30 * time.Second
)

// Keep removes idempotency keys that have had their life, in small batches every
// minute, until ctx ends. A failure is logged, and tried again the next time.
// The schema has to be there.
func (o *Orders) Keep(ctx context.Context, log *slog.Logger) {
	keep(ctx, log, o.PruneIdempotencyKeys)
}

func keep(ctx context.Context, log *slog.Logger, prune func(context.Context) (int64, error)) {
	ticker := time.NewTicker(pruneInterval)
	defer ticker.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			removed, err := prune(ctx)
			if err != nil && ctx.Err() == nil {
				log.Warn("shop: old idempotency keys could not be removed; trying again later", "error", err.Error())
			}
			more = err == nil && removed == pruneBatch
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
