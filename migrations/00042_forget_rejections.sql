-- +goose Up
-- The faults of a rejected order are stored in another shape. A rejected order
-- had no effect, so that a retry may simply be processed again.
DELETE FROM idempotency_keys WHERE order_id IS NULL;

-- +goose Down
DELETE FROM idempotency_keys WHERE order_id IS NULL;
