package handlers

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Refusal is a request that a policy refused, or in shadow mode would have,
// with where the policies stood then.
type Refusal struct {
	RequestID        string    `json:"request_id" example:"req_V1StGXR8Z5jdHi6B"` // the X-Request-Id of the answer
	At               time.Time `json:"at" example:"2026-01-15T09:30:00Z"`         // when
	Route            string    `json:"route" example:"POST /v1/orders"`           // method and path pattern
	ViolatedPolicies []string  `json:"violated_policies" example:"burst"`         // those that refused; empty where only shadow policies would have
	Limits           []Limit   `json:"limits"`                                    // as they stood then; a shadow with a retry_after other than 0 would have refused
}

func showRefusal(r models.Refusal) (Refusal, error) {
	shown := Refusal{RequestID: r.RequestID, At: r.At.UTC(), Route: r.Route, ViolatedPolicies: append([]string{}, r.Violated...)}
	if err := json.Unmarshal(r.Limits, &shown.Limits); err != nil {
		return Refusal{}, fmt.Errorf("limits of refusal %s: %w", r.ID, err)
	}
	return shown, nil
}

// MyRefusals answers GET /v1/me/refusals.
//
//	@Summary		See why I was refused
//	@Description	Requests of this key that a policy refused, or in shadow mode would have, newest first: which policies, and where each stood then. The first five or so of a second are kept, for seven days; all of them are counted in the usage.
//	@Tags			me
//	@ID				listMyRefusals
//	@Produce		json
//	@Param			request_id	query		string	false	"Only the request with this X-Request-Id"	maxlength(200)
//	@Param			limit		query		int		false	"Most items on the page"					minimum(1)	maximum(100)	default(20)
//	@Param			cursor		query		string	false	"Where the page starts: next_cursor of the page before"
//	@Success		200			{object}	List[Refusal]
//	@Failure		400			{object}	models.Problem
//	@Failure		422			{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/me/refusals [get]
func (h *Usage) MyRefusals(c *gin.Context) { h.writeRefusals(c, models.RequestFrom(c).Key.ID, false) }

// RefusalsOfKey answers GET /v1/admin/keys/{id}/refusals.
//
//	@Summary		See why a key was refused
//	@Description	What a key was refused, as it sees it at /v1/me/refusals. Needs the scope admin:keys.
//	@Tags			keys
//	@ID				listKeyRefusals
//	@Produce		json
//	@Param			id			path		string	true	"The key's id"
//	@Param			request_id	query		string	false	"Only the request with this X-Request-Id"	maxlength(200)
//	@Param			limit		query		int		false	"Most items on the page"					minimum(1)	maximum(100)	default(20)
//	@Param			cursor		query		string	false	"Where the page starts: next_cursor of the page before"
//	@Success		200			{object}	List[Refusal]
//	@Failure		400			{object}	models.Problem
//	@Failure		404			{object}	models.Problem
//	@Failure		422			{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys/{id}/refusals [get]
func (h *Usage) RefusalsOfKey(c *gin.Context) { h.writeRefusals(c, c.Param("id"), true) }

// writeRefusals answers with a page of a key's refusals; check: the key may not
// be one.
func (h *Usage) writeRefusals(c *gin.Context, keyID string, check bool) {
	list := "refusals " + keyID // a cursor is good for its own key's
	var q models.RefusalQuery
	after, limit, err := readPage(c, h.cursors, list, func(p *params) { q.RequestID = p.text("request_id") })
	if err == nil && check {
		err = h.usage.Known(c.Request.Context(), keyID)
	}
	if err != nil {
		fail(c, err)
		return
	}
	q.After, q.Limit = after, limit
	page, err := h.usage.Refusals(c.Request.Context(), keyID, q)
	if err != nil {
		fail(c, err)
		return
	}
	shown := models.Page[Refusal]{Data: make([]Refusal, len(page.Data)), Next: page.Next}
	for i, r := range page.Data {
		if shown.Data[i], err = showRefusal(r); err != nil {
			fail(c, err)
			return
		}
	}
	writePage(c, h.cursors, list, shown)
}
