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

// UsageService reads the usage of keys.
type UsageService interface {
	// Exists returns nil if a key with this ID exists, otherwise models.ErrNotFound.
	Exists(ctx context.Context, keyID string) error
	// Usage returns the buckets with requests, oldest first.
	Usage(ctx context.Context, keyID string, q models.UsageQuery) ([]models.Usage, error)
	// Refusals returns up to q.Limit refusals, newest first.
	Refusals(ctx context.Context, keyID string, q models.RefusalQuery) (models.Page[models.Refusal], error)
	// Simulate replays a key's requests against other policies. What can't be
	// replayed is an error of models.KindInvalid.
	Simulate(ctx context.Context, keyID string, policies []ratelimit.Policy, from, to time.Time) (models.Simulation, error)
}

// Usage serves usage, refusals and simulations of keys.
type Usage struct {
	usage   UsageService
	cursors *Cursors
}

// NewUsage returns the handlers of usage, refusals and simulations.
func NewUsage(usage UsageService, cursors *Cursors) *Usage {
	return &Usage{usage: usage, cursors: cursors}
}

// UsageHistory is the usage of a key by bucket.
type UsageHistory struct {
	Bucket models.UsageBucket `json:"bucket" enums:"minute,hour,day" example:"hour"` // width of the buckets
	Data   []models.Usage     `json:"data"`                                          // buckets with requests, oldest first
}

// defaultRange is the default range of time.
const defaultRange = 24 * time.Hour

// maxBuckets bounds a response, at about 100 bytes per bucket: 33 hours by minute,
// 83 days by hour, five years by day.
const maxBuckets = 2_000

// historyQuery selects a part of a history.
type historyQuery struct {
	From   *binding.Time      `form:"from" swaggertype:"string" format:"date-time" example:"2026-01-15T09:30:00Z"` // Start of the range; by default a day before to
	To     *binding.Time      `form:"to" swaggertype:"string" format:"date-time" example:"2026-01-15T09:30:00Z"`   // End of the range, excluded; by default now
	Bucket models.UsageBucket `form:"bucket" enums:"minute,hour,day" default:"hour"`                               // Width of the buckets
	Group  string             `form:"group" maxLength:"200"`                                                       // Only routes of this group, such as orders:write
	Policy string             `form:"policy" maxLength:"200"`                                                      // Count only requests that this policy refused, or would have refused in shadow mode, as refused
}

// Validate checks the group and the range of time.
func (q *historyQuery) Validate(faults *models.Faults) {
	if groups := models.PolicyGroups(); q.Group != "" && !slices.Contains(groups, q.Group) {
		faults.AddFault(queryFault("group", "enum", "must be one of "+strings.Join(groups, ", ")))
	}
	m := q.toModel() // values that could not be read are treated as absent
	switch n := int64(m.To.Sub(m.From) / m.Bucket.Duration()); {
	case !m.From.Before(m.To):
		faults.AddFault(queryFault("from", "range", "must be before to"))
	case n > maxBuckets:
		faults.AddFault(queryFault("bucket", "range", fmt.Sprintf(
			"divides this range into %d buckets, more than the maximum of %d: request wider buckets or a shorter range", n, maxBuckets)))
	}
}

func (q *historyQuery) toModel() models.UsageQuery {
	m := models.UsageQuery{Bucket: q.Bucket, Group: q.Group, Policy: q.Policy}
	m.From, m.To = timeRange(q.From.Std(), q.To.Std(), time.Now())
	return m
}

// timeRange applies the defaults: to is now, from a day before to.
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

// Mine handles GET /v1/me/usage.
//
//	@Summary		Get your usage
//	@Description	The usage of the key of this request: requests, how many were allowed and refused, and the units charged. The data is at most three seconds old. Buckets begin at whole minutes, hours or days (UTC) and are returned whole. Routes that cost nothing are not counted. Minutes are kept for 31 days, hours for 400 days, days for five years.
//	@Tags			me
//	@ID				getMyUsage
//	@Produce		json
//	@Param			history	query	historyQuery	false	"Range, buckets and filter"
//	@Success		200		{object}	UsageHistory
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/me/usage [get]
func (h *Usage) Mine(c *gin.Context) {
	if in, ok := bind(c, historyQuery{}); ok {
		history, err := h.usage.Usage(c.Request.Context(), keyOf(c).ID, in.toModel())
		respond(c, http.StatusOK, UsageHistory{Bucket: in.Bucket, Data: append([]models.Usage{}, history...)}, err)
	}
}

// historyOfKey is the input of GET /v1/admin/keys/{id}/usage.
type historyOfKey struct {
	ID    string `uri:"id"`
	Query historyQuery
}

// OfKey handles GET /v1/admin/keys/{id}/usage.
//
//	@Summary		Get the usage of a key
//	@Description	The usage of a key, as the key gets it from /v1/me/usage.
//	@Tags			keys
//	@ID				getKeyUsage
//	@Produce		json
//	@Param			id		path		string	true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			history	query	historyQuery	false	"Range, buckets and filter"
//	@Success		200		{object}	UsageHistory
//	@Failure		400		{object}	middleware.Problem
//	@Failure		404		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/usage [get]
func (h *Usage) OfKey(c *gin.Context) {
	if in, ok := bind(c, historyOfKey{}); ok {
		ctx := c.Request.Context()
		history, err := ofExisting(ctx, h, in.ID, func() ([]models.Usage, error) { return h.usage.Usage(ctx, in.ID, in.Query.toModel()) })
		respond(c, http.StatusOK, UsageHistory{Bucket: in.Query.Bucket, Data: append([]models.Usage{}, history...)}, err)
	}
}

// ofExisting returns the result of read for a key that exists.
func ofExisting[T any](ctx context.Context, h *Usage, id string, read func() (T, error)) (result T, err error) {
	if err = h.usage.Exists(ctx, id); err == nil {
		result, err = read()
	}
	return result, err
}
