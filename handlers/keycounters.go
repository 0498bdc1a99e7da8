package handlers

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Limits handles GET /v1/admin/keys/{id}/limits.
//
//	@Summary		Get the state of a key's limits
//	@Description	The state of every policy of the key. Nothing is charged.
//	@Tags			keys
//	@ID				getKeyLimits
//	@Produce		json
//	@Param			id	path		string	true	"Key id"	example(9Kx2mV4tQaLp)
//	@Success		200	{object}	KeyLimits
//	@Failure		404	{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/limits [get]
func (h *Keys) Limits(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		limits, err := h.limits(c.Request.Context(), in.ID)
		respond(c, http.StatusOK, limits, err)
	}
}

// limits returns the state of a key's policies.
func (h *Keys) limits(ctx context.Context, id string) (KeyLimits, error) {
	_, quota, err := h.quotas.Quota(ctx, id)
	if err != nil {
		return KeyLimits{}, err
	}
	return limitsOf(ctx, h.limiter, quota)
}

// limitsOf returns the state of a quota's policies.
func limitsOf(ctx context.Context, limiter KeyLimiter, quota *ratelimit.Quota) (KeyLimits, error) {
	decision, err := limiter.PeekAll(ctx, quota)
	if err != nil {
		return KeyLimits{}, models.LimiterFailed(err)
	}
	return showLimits(&decision), nil
}

// counterReset is the input of POST /v1/admin/keys/{id}/reset.
type counterReset struct {
	ID   string          `uri:"id"`
	Body resetKeyRequest `body:"optional"`
}

// resetKeyRequest is a reset of counters.
//
// It is the body of POST /v1/admin/keys/{id}/reset.
type resetKeyRequest struct {
	Policies []string `json:"policies" minItems:"1" maxItems:"16" example:"burst"` // names of the policies; by default all
}

// unknownPolicies checks that a quota has the named policies.
func (r *resetKeyRequest) unknownPolicies(quota *ratelimit.Quota) error {
	var faults models.Faults
	for i, name := range r.Policies {
		if !slices.ContainsFunc(quota.Policies(), func(p ratelimit.Policy) bool { return p.Name == name }) {
			faults.Add("unknown", "is not a policy of this key's quota", "policies", strconv.Itoa(i))
		}
	}
	return faults.Err()
}

// Reset handles POST /v1/admin/keys/{id}/reset.
//
//	@Summary		Reset a key's counters
//	@Description	Resets the counters of the named policies, as if nothing had been spent; without a body, the counters of all policies. The counter of a policy per owner is reset for all keys of the owner. The caller must hold every scope of the key.
//	@Tags			keys
//	@ID				resetKey
//	@Accept			json
//	@Produce		json
//	@Param			id		path	string		true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			reset	body	resetKeyRequest	false	"Policies"
//	@Success		204
//	@Failure		400	{object}	middleware.Problem
//	@Failure		404	{object}	middleware.Problem
//	@Failure		413	{object}	middleware.Problem
//	@Failure		415	{object}	middleware.Problem
//	@Failure		422	{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/reset [post]
func (h *Keys) Reset(c *gin.Context) {
	if in, ok := bindFor(c, counterReset{}); ok {
		respondEmpty(c, h.reset(c.Request.Context(), in))
	}
}

func (h *Keys) reset(ctx context.Context, in counterReset) error {
	_, quota, err := h.quotas.Quota(ctx, in.ID)
	if err != nil {
		return err
	}
	policies := in.Body.Policies
	if err := in.Body.unknownPolicies(quota); err != nil {
		return err
	}
	return h.keys.Reset(ctx, in.ID, policies, func(ctx context.Context) error {
		if err := h.limiter.Reset(ctx, quota, policies...); err != nil {
			return models.LimiterFailed(err)
		}
		return nil
	})
}
