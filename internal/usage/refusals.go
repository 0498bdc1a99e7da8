package usage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratelimiter/internal/cache"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// maxDetails is the maximum number of refusals of a key that are stored in full
// per flush. All refusals are counted, but a flood of them writes only about five
// rows per second.
const maxDetails = 5

// Bounds of the refusals in memory, in keys of up to 10 KB. Refusals above them
// are not stored; their requests are still counted.
const (
	maxRefusalsPending = 2_000
	maxRefusalsBacklog = 4_000
	refusalBatch       = 500
)

// keyRefusals is the refusals of a key since the last flush.
type keyRefusals struct {
	policies []policyCount
	details  []refusal
}

// policyCount is the number of refusals by one policy in a minute.
type policyCount struct {
	group  models.Scope
	minute int64 // since the Unix epoch
	policy string
	shadow bool
	n      int64
}

// refusal is one refused request.
type refusal struct {
	requestID string
	at        time.Time
	route     string
	violated  []string
	statuses  []ratelimit.Status // of enforced, then of shadow policies
}

// recordRefusal counts a refusal for each policy that refused or, in shadow mode,
// would have refused. It stores the first maxDetails in full.
func (s *Service) recordRefusal(request *models.Request, route *models.Route, at time.Time, d *ratelimit.Decision) {
	if !s.refusals.Update(request.Key.ID, func(r *keyRefusals) {
		r.count(route.Group, at.Unix()/60, d.Statuses(), false)
		r.count(route.Group, at.Unix()/60, d.Shadows(), true)
		if len(r.details) < maxDetails {
			r.details = append(r.details, refusal{
				requestID: request.ID, at: at, route: route.Name, violated: d.Violated(),
				statuses: slices.Concat(d.Statuses(), d.Shadows()),
			})
		}
	}) {
		s.droppedRefusals.Add(1)
	}
}

func (r *keyRefusals) count(group models.Scope, minute int64, statuses []ratelimit.Status, shadow bool) {
	for i := range statuses {
		if !statuses[i].Allowed {
			r.increment(policyCount{group: group, minute: minute, policy: statuses[i].Policy.Name, shadow: shadow})
		}
	}
}

// increment increments the count that equals c except in n, or adds it.
func (r *keyRefusals) increment(c policyCount) {
	for i := range r.policies {
		p := &r.policies[i]
		if c.n = p.n; *p == c {
			p.n++
			return
		}
	}
	c.n = 1
	r.policies = append(r.policies, c)
}

// writeRefusals writes a batch in one statement. A batch whose ID exists writes
// nothing.
var writeRefusals = `
WITH flush AS (
	INSERT INTO usage_flushes (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id
), policies AS (
	INSERT INTO usage_policies AS old
	SELECT key_id, date_trunc('minute', ` + plausible("u.at") + `), route_group, policy, shadow, sum(n)
	FROM flush, unnest($2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::boolean[], $7::bigint[])
		AS u (key_id, at, route_group, policy, shadow, n)
	GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
	ON CONFLICT (key_id, at, route_group, policy, shadow) DO UPDATE SET refused = old.refused + excluded.refused
)
INSERT INTO refusals (key_id, at, id, request_id, route, violated, limits)
SELECT r.key_id, ` + plausible("r.at") + `, r.id, r.request_id, r.route, string_to_array(r.violated, ','), r.limits::jsonb
FROM flush, unnest($8::text[], $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
	AS r (key_id, at, id, request_id, route, violated, limits)`

// policyRows and detailRows are the arguments of writeRefusals.
type (
	policyRows struct {
		key, group, policy []string
		at                 []time.Time
		shadow             []bool
		n                  []int64
	}
	detailRows struct {
		key, id, requestID, route, violated, limits []string
		at                                          []time.Time
	}
)

func (rows *policyRows) add(key string, p policyCount) {
	rows.key, rows.group, rows.policy = append(rows.key, key), append(rows.group, string(p.group)), append(rows.policy, p.policy)
	rows.at = append(rows.at, time.Unix(p.minute*60, 0))
	rows.shadow, rows.n = append(rows.shadow, p.shadow), append(rows.n, p.n)
}

func (rows *detailRows) add(key string, r refusal) error {
	limits, err := json.Marshal(models.LimitsOf(r.statuses))
	if err != nil {
		return fmt.Errorf("encode limits: %w", err)
	}
	rows.key, rows.at, rows.id = append(rows.key, key), append(rows.at, r.at), append(rows.id, rand.Text()[:12])
	rows.requestID, rows.route = append(rows.requestID, r.requestID), append(rows.route, r.route)
	rows.violated, rows.limits = append(rows.violated, strings.Join(r.violated, ",")), append(rows.limits, string(limits))
	return nil
}

func (s *Service) flushRefusals(ctx context.Context, batch cache.Batch[string, keyRefusals]) error {
	var p policyRows
	var d detailRows
	for _, e := range batch.Entries {
		for _, count := range e.Value.policies {
			p.add(e.Key, count)
		}
		for _, r := range e.Value.details {
			if err := d.add(e.Key, r); err != nil {
				return err
			}
		}
	}
	_, err := s.db.Exec(ctx, writeRefusals, batch.ID, p.key, p.at, p.group, p.policy, p.shadow, p.n,
		d.key, d.at, d.id, d.requestID, d.route, d.violated, d.limits)
	if err != nil {
		return s.createMissingPartitions(ctx, fmt.Errorf("write refusals: %w", err))
	}
	return nil
}

func (s *Service) onRefusalsDropped(batch cache.Batch[string, keyRefusals], err error) {
	s.droppedRefusals.Add(int64(len(batch.Entries)))
	s.log.Error("usage: dropped a batch of refusals", "keys", len(batch.Entries), "since", batch.At, "error", err.Error())
}
