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

// maxDetails is how many refusals of a key are kept with their numbers between
// two flushes, the first ones: a flood of refusals is counted whole, and writes
// about five rows a second.
const maxDetails = 5

// Bounds of what waits in memory, in keys: each takes up to 10 KB. Beyond
// them, refusals are not kept; the requests are counted all the same.
const (
	maxRefusing        = 2_000
	maxRefusalsWaiting = 4_000
	refusalBatch       = 500
)

// refused is what a key was refused since the last flush.
type refused struct {
	policies []policyCount
	details  []refusal
}

// policyCount is how often one policy refused in a minute.
type policyCount struct {
	group  models.Scope
	minute int64 // of the Unix epoch
	policy string
	shadow bool
	n      int64
}

// refusal is one refused request, with where its policies stood.
type refusal struct {
	requestID string
	at        time.Time
	route     string
	violated  []string
	statuses  []ratelimit.Status // all that applied, shadows last
}

// recordRefusal counts a refusal for each policy that refused, or in shadow
// mode would have, and keeps the first few whole.
func (s *Service) recordRefusal(request *models.Request, route *models.Route, at time.Time, d *ratelimit.Decision) {
	s.refusals.Update(request.Key.ID, func(r *refused) {
		r.count(route.Group, at.Unix()/60, d.Statuses(), false)
		r.count(route.Group, at.Unix()/60, d.Shadows(), true)
		if len(r.details) < maxDetails {
			r.details = append(r.details, refusal{
				requestID: request.ID, at: at, route: route.Name, violated: d.Violated(),
				statuses: slices.Concat(d.Statuses(), d.Shadows()),
			})
		}
	})
}

func (r *refused) count(group models.Scope, minute int64, statuses []ratelimit.Status, shadow bool) {
	for i := range statuses {
		if !statuses[i].Allowed {
			r.countOne(policyCount{group: group, minute: minute, policy: statuses[i].Policy.Name, shadow: shadow})
		}
	}
}

func (r *refused) countOne(what policyCount) {
	for i := range r.policies {
		p := &r.policies[i]
		if p.policy == what.policy && p.minute == what.minute && p.group == what.group && p.shadow == what.shadow {
			p.n++
			return
		}
	}
	what.n = 1
	r.policies = append(r.policies, what)
}

// limitThen is one policy's counter at the time of a refusal: the Limits shape.
// Times are in seconds.
type limitThen struct {
	Policy     string   `json:"policy"`
	Algorithm  string   `json:"algorithm"`
	Limit      int64    `json:"limit"`
	Remaining  int64    `json:"remaining"`
	ResetAfter float64  `json:"reset_after"`
	RetryAfter *float64 `json:"retry_after"` // null: never; above 0: it refused, or as a shadow would have
	Mode       string   `json:"mode"`
	Charge     string   `json:"charge"`
}

func encodeLimits(statuses []ratelimit.Status) (string, error) {
	limits := make([]limitThen, len(statuses))
	for i, s := range statuses {
		limits[i] = limitThen{
			Policy: s.Policy.Name, Algorithm: string(s.Policy.Algorithm), Limit: s.Limit, Remaining: s.Remaining,
			ResetAfter: s.ResetAfter.Seconds(), Mode: string(s.Policy.Mode), Charge: string(s.Policy.Charge),
		}
		if s.RetryAfter != ratelimit.Never {
			seconds := s.RetryAfter.Seconds()
			limits[i].RetryAfter = &seconds
		}
	}
	text, err := json.Marshal(limits)
	return string(text), err
}

// writeRefusals counts a batch once and keeps its details, in one statement.
const writeRefusals = `
WITH flush AS (
	INSERT INTO usage_flushes (id, at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id
), policies AS (
	INSERT INTO usage_policies AS old
	SELECT key_id, at, route_group, policy, shadow, sum(n)
	FROM flush, unnest($3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::boolean[], $8::bigint[])
		AS u (key_id, at, route_group, policy, shadow, n)
	GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
	ON CONFLICT (key_id, at, route_group, policy, shadow) DO UPDATE SET refused = old.refused + excluded.refused
)
INSERT INTO refusals (key_id, at, id, request_id, route, violated, limits)
SELECT r.key_id, r.at, r.id, r.request_id, r.route, string_to_array(r.violated, ','), r.limits::jsonb
FROM flush, unnest($9::text[], $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])
	AS r (key_id, at, id, request_id, route, violated, limits)`

// policyRows and detailRows are the statement's arguments.
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
	limits, err := encodeLimits(r.statuses)
	if err != nil {
		return fmt.Errorf("encode limits: %w", err)
	}
	rows.key, rows.at, rows.id = append(rows.key, key), append(rows.at, r.at), append(rows.id, rand.Text()[:12])
	rows.requestID, rows.route = append(rows.requestID, r.requestID), append(rows.route, r.route)
	rows.violated, rows.limits = append(rows.violated, strings.Join(r.violated, ",")), append(rows.limits, limits)
	return nil
}

// flushRefusals writes a batch.
func (s *Service) flushRefusals(ctx context.Context, batch cache.Batch[string, refused]) error {
	var p policyRows
	var d detailRows
	oldest := batch.At.Add(-maxAge)
	for _, e := range batch.Entries {
		for _, count := range e.Value.policies {
			count.minute = max(count.minute, oldest.Unix()/60)
			p.add(e.Key, count)
		}
		for _, r := range e.Value.details {
			if r.at.Before(oldest) {
				r.at = oldest
			}
			if err := d.add(e.Key, r); err != nil {
				return err
			}
		}
	}
	_, err := s.db.Exec(ctx, writeRefusals, batch.ID, batch.At, p.key, p.at, p.group, p.policy, p.shadow, p.n,
		d.key, d.at, d.id, d.requestID, d.route, d.violated, d.limits)
	if err != nil {
		return s.mend(ctx, fmt.Errorf("write refusals: %w", err))
	}
	return nil
}

// lostRefusals tells of a batch that was given up.
func (s *Service) lostRefusals(batch cache.Batch[string, refused], err error) {
	s.log.Error("usage: refusals were lost", "keys", len(batch.Entries), "since", batch.At, "error", err.Error())
}
