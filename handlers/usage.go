package handlers

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// UsageService knows what keys have used.
type UsageService interface {
	// Known returns nil when there is a key with this id, or models.ErrNotFound.
	Known(ctx context.Context, keyID string) error
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

// readUsageQuery reads the query parameters of a history. Error:
// *models.InvalidError with every fault.
func (h *Usage) readUsageQuery(c *gin.Context) (models.UsageQuery, error) {
	p, err := readParams(c)
	if err != nil {
		return models.UsageQuery{}, err
	}
	q := models.UsageQuery{
		Bucket: models.UsageBucket(p.oneOf("bucket", string(models.BucketMinute), string(models.BucketHour), string(models.BucketDay))),
		Group:  p.oneOf("group", h.groups...), Policy: p.text("policy"),
	}
	if q.Bucket == "" {
		q.Bucket = models.BucketHour
	}
	q.From, q.To = timeRange(p.time("from"), p.time("to"), time.Now())
	switch n := int64(q.To.Sub(q.From) / q.Bucket.Duration()); {
	case p.faults.Err() != nil:
	case !q.From.Before(q.To):
		p.faults.Query("from", "range", "must be before to")
	case n > maxBuckets:
		p.faults.Query("bucket", "range", fmt.Sprintf("would make %d buckets of this range, and at most %d are shown: ask for wider buckets, or a shorter range", n, maxBuckets))
	}
	return q, p.faults.Err()
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
//	@Param			from	query		string	false	"From this time; a day before to if left out"	format(date-time)
//	@Param			to		query		string	false	"Until before this time; now if left out"		format(date-time)
//	@Param			bucket	query		string	false	"How wide the buckets are"						Enums(minute, hour, day)	default(hour)
//	@Param			group	query		string	false	"Only routes of this group, such as orders:write"
//	@Param			policy	query		string	false	"Count as refused what this policy refused, or would have in shadow mode"	maxlength(200)
//	@Success		200		{object}	UsageHistory
//	@Failure		400		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/me/usage [get]
func (h *Usage) Mine(c *gin.Context) { h.writeUsage(c, models.RequestFrom(c).Key.ID, false) }

// OfKey answers GET /v1/admin/keys/{id}/usage.
//
//	@Summary		See what a key used
//	@Description	What a key has used, as it sees it at /v1/me/usage. Needs the scope admin:keys.
//	@Tags			keys
//	@ID				getKeyUsage
//	@Produce		json
//	@Param			id		path		string	true	"The key's id"
//	@Param			from	query		string	false	"From this time; a day before to if left out"	format(date-time)
//	@Param			to		query		string	false	"Until before this time; now if left out"		format(date-time)
//	@Param			bucket	query		string	false	"How wide the buckets are"						Enums(minute, hour, day)	default(hour)
//	@Param			group	query		string	false	"Only routes of this group, such as orders:write"
//	@Param			policy	query		string	false	"Count as refused what this policy refused, or would have in shadow mode"	maxlength(200)
//	@Success		200		{object}	UsageHistory
//	@Failure		400		{object}	models.Problem
//	@Failure		404		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys/{id}/usage [get]
func (h *Usage) OfKey(c *gin.Context) { h.writeUsage(c, c.Param("id"), true) }

// writeUsage answers with a key's history; check: the key may not be one.
func (h *Usage) writeUsage(c *gin.Context, keyID string, check bool) {
	q, err := h.readUsageQuery(c)
	if err == nil && check {
		err = h.usage.Known(c.Request.Context(), keyID)
	}
	if err != nil {
		fail(c, err)
		return
	}
	history, err := h.usage.Usage(c.Request.Context(), keyID, q)
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, UsageHistory{Bucket: q.Bucket, Data: append([]models.Usage{}, history...)})
}
