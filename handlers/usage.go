package handlers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// UsageService knows what keys have used.
type UsageService interface {
	// Exists returns nil if a key with this ID exists, otherwise models.ErrNotFound.
	Exists(ctx context.Context, keyID string) error
	// Usage returns the buckets with requests, oldest first.
	Usage(ctx context.Context, keyID string, q models.UsageQuery) ([]models.Usage, error)
	// Refusals returns up to q.Limit refusals, newest first.
	Refusals(ctx context.Context, keyID string, q models.RefusalQuery) (models.Page[models.Refusal], error)
	// Simulate replays what a key sent against other policies. What can't be
	// replayed is a *models.InvalidError.
	Simulate(ctx context.Context, keyID string, policies []ratelimit.Policy, from, to time.Time) (models.Simulation, error)
}

// Usage serves what keys have used, were refused, and would have been.
type Usage struct {
	usage   UsageService
	cursors *Cursors
	groups  []string
}

// NewUsage returns the handlers of usage, refusals and simulations. groups are
// what policies can be bound to.
func NewUsage(usage UsageService, cursors *Cursors, groups []string) *Usage {
	return &Usage{usage: usage, cursors: cursors, groups: groups}
}

// UsageHistory is what a key has used, bucket by bucket.
type UsageHistory struct {
	Bucket models.UsageBucket `json:"bucket" enums:"minute,hour,day" example:"hour"` // how wide each bucket is
	Data   []models.Usage     `json:"data"`                                          // oldest first; buckets without requests are left out
}

// defaultRange is what is looked at unless the caller says otherwise.
const defaultRange = 24 * time.Hour

// maxBuckets bounds one answer, at some 100 bytes a bucket: 33 hours by minute,
// 83 days by hour, five years by day.
const maxBuckets = 2_000

// historyQuery says which part of a history is asked for.
type historyQuery struct {
	From   *binding.Time      `form:"from" swaggertype:"string" format:"date-time"`  // From this time; a day before to if left out
	To     *binding.Time      `form:"to" swaggertype:"string" format:"date-time"`    // Until before this time; now if left out
	Bucket models.UsageBucket `form:"bucket" enums:"minute,hour,day" default:"hour"` // How wide the buckets are
	Group  string             `form:"group" maxLength:"200"`                         // Only routes of this group, such as orders:write
	Policy string             `form:"policy" maxLength:"200"`                        // Count as refused what this policy refused, or would have in shadow mode

	groups []string
}

// Validate checks what the tags can't.
func (q *historyQuery) Validate(faults *models.Faults) {
	if q.Group != "" && !slices.Contains(q.groups, q.Group) {
		faults.Query("group", "enum", "must be one of "+strings.Join(q.groups, ", "))
	}
	m := q.toModel() // what could not be read is as if left out
	switch n := int64(m.To.Sub(m.From) / m.Bucket.Duration()); {
	case !m.From.Before(m.To):
		faults.Query("from", "range", "must be before to")
	case n > maxBuckets:
		faults.Query("bucket", "range", fmt.Sprintf("would make %d buckets of this range, and at most %d are shown: ask for wider buckets, or a shorter range", n, maxBuckets))
	}
}

func (q *historyQuery) toModel() models.UsageQuery {
	m := models.UsageQuery{Bucket: q.Bucket, Group: q.Group, Policy: q.Policy}
	m.From, m.To = timeRange(q.From.Std(), q.To.Std(), time.Now())
	return m
}

// timeRange fills in what the caller left out: to is now, and from a day before
// to.
func timeRange(from, to *time.Time, now time.Time) (time.Time, time.Time) {
	if to == nil {
		now = now.UTC()
		to = &now
	}
	if from == nil {
		before := to.Add(-defaultRange)
		from = &before
	}
	return *from, *to
}

// Mine answers GET /v1/me/usage.
//
//	@Summary		See my usage
//	@Description	What the key of this request has used: requests, how many were allowed and refused, and the units that were charged. What happened three seconds ago is in it. Buckets begin at whole minutes, hours or days (UTC), and whole buckets are shown. Routes that cost nothing are not counted. Minutes are kept for 31 days, hours for 400, days for five years.
//	@Tags			me
//	@ID				getMyUsage
//	@Produce		json
//	@Param			history	query	historyQuery	false	"Which part of the history"
//	@Success		200		{object}	UsageHistory
//	@Failure		400		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/me/usage [get]
func (h *Usage) Mine(c *gin.Context) {
	if in, ok := bind(c, historyQuery{groups: h.groups}); ok {
		history, err := h.usage.Usage(c.Request.Context(), keyOf(c).ID, in.toModel())
		answer(c, http.StatusOK, UsageHistory{Bucket: in.Bucket, Data: append([]models.Usage{}, history...)}, err)
	}
}

// historyOfKey is what GET /v1/admin/keys/{id}/usage takes.
type historyOfKey struct {
	ID    string `uri:"id"`
	Query historyQuery
}

// OfKey answers GET /v1/admin/keys/{id}/usage.
//
//	@Summary		See what a key used
//	@Description	What a key has used, as it sees it at /v1/me/usage.
//	@Tags			keys
//	@ID				getKeyUsage
//	@Produce		json
//	@Param			id		path		string	true	"The key's id"
//	@Param			history	query	historyQuery	false	"Which part of the history"
//	@Success		200		{object}	UsageHistory
//	@Failure		400		{object}	models.Problem
//	@Failure		404		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys/{id}/usage [get]
func (h *Usage) OfKey(c *gin.Context) {
	if in, ok := bind(c, historyOfKey{Query: historyQuery{groups: h.groups}}); ok {
		history, err := h.ofKey(c.Request.Context(), in)
		answer(c, http.StatusOK, UsageHistory{Bucket: in.Query.Bucket, Data: append([]models.Usage{}, history...)}, err)
	}
}

func (h *Usage) ofKey(ctx context.Context, in historyOfKey) ([]models.Usage, error) {
	if err := h.usage.Exists(ctx, in.ID); err != nil {
		return nil, err
	}
	return h.usage.Usage(ctx, in.ID, in.Query.toModel())
}
