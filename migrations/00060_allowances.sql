-- Durable counters of calendar policies. Instances lease units from them.
-- +goose Up
CREATE TABLE allowances (
    counter      bytea NOT NULL, -- hash of the subject, then the policy's id
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL, -- the row is deleted some days after
    used         bigint NOT NULL, -- units spent or leased
    granted      bigint NOT NULL, -- units of the latest lease
    epoch        bigint NOT NULL DEFAULT 1, -- incremented by each reset
    subject      text NOT NULL, -- with policy, for people who read the table
    policy       text NOT NULL,
    PRIMARY KEY (counter, period_start)
) WITH (fillfactor = 70); -- updates stay on the page and touch no index
CREATE INDEX allowances_period_end ON allowances (period_end);

-- lease_allowances applies requests (op 0: read; 1: lease; 2: charge a debt; 3:
-- return units of an epoch) and returns a row for each, in the order of n. It
-- locks rows in the order of their keys, so that two calls can't deadlock. Each
-- statement has its guard in its own WHERE, which Postgres evaluates again on
-- the latest row after it waited for a lock.
-- +goose StatementBegin
CREATE FUNCTION lease_allowances(
    ops smallint[], counters bytea[], starts timestamptz[], ends timestamptz[], subjects text[], policies text[],
    needs bigint[], totals bigint[], wants bigint[], limits bigint[], epochs bigint[]
) RETURNS TABLE (n bigint, granted bigint, used bigint, epoch bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE r record;
BEGIN
    FOR r IN
        SELECT * FROM unnest(ops, counters, starts, ends, subjects, policies, needs, totals, wants, limits, epochs) WITH ORDINALITY
            AS q (op, counter, starts_at, ends_at, subject, policy, need, total, want, most, epoch, n)
        ORDER BY counter, starts_at, n
    LOOP
        n := r.n;
        LOOP
            granted := 0;
            IF r.op = 1 THEN
                -- All that is asked, or the wanted units but at most an eighth of the rest.
                UPDATE allowances a
                SET used = a.used + least(r.most - a.used, greatest(r.total, least(r.want, (r.most - a.used) / 8))),
                    granted = least(r.most - a.used, greatest(r.total, least(r.want, (r.most - a.used) / 8)))
                WHERE a.counter = r.counter AND a.period_start = r.starts_at AND a.used + r.need <= r.most
                RETURNING a.granted, a.used, a.epoch INTO granted, used, epoch;
            ELSIF r.op = 2 THEN
                UPDATE allowances a SET used = a.used + r.total, granted = r.total
                WHERE a.counter = r.counter AND a.period_start = r.starts_at
                RETURNING a.granted, a.used, a.epoch INTO granted, used, epoch;
            ELSIF r.op = 3 THEN
                UPDATE allowances a SET used = a.used - r.total
                WHERE a.counter = r.counter AND a.period_start = r.starts_at AND a.epoch = r.epoch AND a.used >= r.total
                RETURNING r.total, a.used, a.epoch INTO granted, used, epoch;
            END IF;
            EXIT WHEN r.op <> 0 AND FOUND;
            granted := 0;
            SELECT a.used, a.epoch INTO used, epoch FROM allowances a WHERE a.counter = r.counter AND a.period_start = r.starts_at;
            EXIT WHEN FOUND AND r.op <> 2;
            used := 0; epoch := 1;
            EXIT WHEN r.op IN (0, 3) OR r.op = 1 AND r.need > r.most;
            INSERT INTO allowances (counter, period_start, period_end, subject, policy, used, granted)
            SELECT r.counter, r.starts_at, r.ends_at, r.subject, r.policy, units, units
            FROM (SELECT CASE r.op WHEN 1 THEN least(r.most, greatest(r.total, least(r.want, r.most / 8))) ELSE r.total END) AS first (units)
            ON CONFLICT DO NOTHING
            RETURNING used, used INTO granted, used;
            EXIT WHEN FOUND; -- otherwise another instance was first
        END LOOP;
        RETURN NEXT;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION lease_allowances;
DROP TABLE allowances;
