package handlers

import (
	"encoding/json"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Refusal is a request that a policy refused or, in shadow mode, would have
// refused, with the state of the policies at that time.
type Refusal struct {
	RequestID        string         `json:"request_id" example:"req_V1StGXR8Z5jdHi6B"` // X-Request-Id of the response
	At               time.Time      `json:"at" example:"2026-01-15T09:30:00Z"`         // when the request was refused
	Route            string         `json:"route" example:"POST /v1/orders"`           // method and path pattern
	ViolatedPolicies []string       `json:"violated_policies" example:"burst"`         // policies that refused; empty if only shadow policies would have
	Limits           []models.Limit `json:"limits"`                                    // state of the policies at that time; a shadow policy with a retry_after other than 0 would have refused
}

func showRefusal(r models.Refusal) Refusal {
	shown := Refusal{RequestID: r.RequestID, At: r.At.UTC(), Route: r.Route, ViolatedPolicies: append([]string{}, r.Violated...)}
	if json.Unmarshal(r.Limits, &shown.Limits) != nil { // not stored by this program
		shown.Limits = []models.Limit{}
	}
	return shown
}

// MyRefusals handles GET /v1/me/refusals.
//
//	@Summary		List your refusals
//	@Description	Requests of this key that a policy refused or, in shadow mode, would have refused, newest first, with the state of each policy at that time. About the first five refusals of each second are kept, for seven days. The usage counts all of them.
//	@Tags			me
//	@ID				listMyRefusals
//	@Produce		json
//	@Param			filter	query	refusalFilter	false	"Filter"
//	@Param			page	query	page	false	"Page"
//	@Success		200			{object}	List[Refusal]
//	@Failure		400			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Router			/v1/me/refusals [get]
func (h *Usage) MyRefusals(c *gin.Context) {
	list := "refusals " + keyOf(c).ID // cursors are valid for one key
	if in, ok := bind(c, listRefusals{Page: h.cursors.page(list)}); ok {
		refusals, err := h.usage.Refusals(c.Request.Context(), keyOf(c).ID, in.toModel())
		respondShown(c, in.Page, refusals, err, showRefusal)
	}
}

// listRefusals is the input of GET /v1/me/refusals.
type listRefusals struct {
	Filter refusalFilter
	Page   page
}

// refusalFilter selects refusals.
type refusalFilter struct {
	RequestID string `form:"request_id" maxLength:"200" example:"req_V1StGXR8Z5jdHi6B"` // Only the request with this X-Request-Id
}

func (l *listRefusals) toModel() models.RefusalQuery {
	return models.RefusalQuery{RequestID: l.Filter.RequestID, After: l.Page.after, Limit: l.Page.Limit}
}

// RefusalsOfKey handles GET /v1/admin/keys/{id}/refusals.
//
//	@Summary		List the refusals of a key
//	@Description	The refusals of a key, as the key gets them from /v1/me/refusals.
//	@Tags			keys
//	@ID				listKeyRefusals
//	@Produce		json
//	@Param			id			path		string	true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			filter	query	refusalFilter	false	"Filter"
//	@Param			page	query	page	false	"Page"
//	@Success		200			{object}	List[Refusal]
//	@Failure		400			{object}	middleware.Problem
//	@Failure		404			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/refusals [get]
func (h *Usage) RefusalsOfKey(c *gin.Context) {
	list := "refusals " + c.Param("id")
	if in, ok := bind(c, refusalsOfKey{Refusals: listRefusals{Page: h.cursors.page(list)}}); ok {
		ctx := c.Request.Context()
		refusals, err := ofExisting(ctx, h, in.ID, func() (models.Page[models.Refusal], error) {
			return h.usage.Refusals(ctx, in.ID, in.Refusals.toModel())
		})
		respondShown(c, in.Refusals.Page, refusals, err, showRefusal)
	}
}

// refusalsOfKey is the input of GET /v1/admin/keys/{id}/refusals.
type refusalsOfKey struct {
	ID       string `uri:"id"`
	Refusals listRefusals
}
