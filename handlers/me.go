package handlers

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Me serves /v1/me, a key's view of itself.
type Me struct {
	keys    KeyService
	limiter KeyLimiter
}

// NewMe returns the handlers of /v1/me.
func NewMe(keys KeyService, limiter KeyLimiter) *Me { return &Me{keys: keys, limiter: limiter} }

// OwnKey is an API key as its user sees it, without the data that is for
// operators.
type OwnKey struct {
	ID        string           `json:"id" example:"9Kx2mV4tQaLp"`                                    // id of the key
	Name      string           `json:"name" example:"Checkout service"`                              // name, for operators
	Plan      string           `json:"plan" example:"free"`                                          // plan whose policies apply
	Scopes    []models.Scope   `json:"scopes" example:"products:read,orders:read"`                   // scopes that the key holds
	Owner     string           `json:"owner" example:"own_5HqT1bZr8wYk"`                             // owner, which groups keys; orders belong to the owner
	Subject   string           `json:"subject" example:"9Kx2mV4tQaLp"`                               // subject whose counters are spent
	Status    models.KeyStatus `json:"status" enums:"active" example:"active"`                       // state of the key
	IPAllow   []netip.Prefix   `json:"ip_allow" swaggertype:"array,string" example:"203.0.113.0/24"` // networks that may use the key; empty: all
	CreatedAt time.Time        `json:"created_at" example:"2026-01-15T09:30:00Z"`                    // when the key was created
	ExpiresAt *time.Time       `json:"expires_at" example:"2037-01-15T09:30:00Z"`                    // when the key expires; null: never
}

// OwnKeyWithQuota is the key of the request with the policies that apply to it
// now.
type OwnKeyWithQuota struct {
	OwnKey
	Quota []QuotaPolicy `json:"quota"` // policies that apply now
}

// OwnKeyWithSecret is the successor of the key of the request with its text,
// which is shown only once.
type OwnKeyWithSecret struct {
	Secret string `json:"key" example:"rl_live_9Kx2mV4tQaLp_…"` // text of the key, shown only once
	OwnKey
}

func showOwn(key *models.APIKey, now time.Time) OwnKey {
	return OwnKey{
		ID: key.ID, Name: key.Name, Plan: key.Plan, Scopes: key.Scopes, Owner: key.Owner, Subject: key.Subject,
		Status: key.Status(now), IPAllow: key.IPAllow, CreatedAt: key.CreatedAt, ExpiresAt: key.ExpiresAt,
	}
}

// Get handles GET /v1/me.
//
//	@Summary		Get your key
//	@Description	The key of the request with its scopes and its quota.
//	@Tags			me
//	@ID				getMe
//	@Produce		json
//	@Success		200	{object}	OwnKeyWithQuota
//	@Header			200	{string}	ETag	"Version of the key"
//	@Router			/v1/me [get]
func (h *Me) Get(c *gin.Context) {
	if _, ok := bind(c, nothing{}); ok {
		// The key of the request has only what a request needs.
		key, err := h.keys.Get(c.Request.Context(), keyOf(c).ID)
		now := time.Now()
		respondVersioned(c, http.StatusOK, key.Version, OwnKeyWithQuota{showOwn(&key, now), showQuota(&key, models.RequestFrom(c).Quota, now)}, err)
	}
}

// Limits handles GET /v1/me/limits.
//
//	@Summary		Get the state of your limits
//	@Description	The state of every policy of the key. Nothing is charged.
//	@Tags			me
//	@ID				getMyLimits
//	@Produce		json
//	@Success		200	{object}	KeyLimits
//	@Router			/v1/me/limits [get]
func (h *Me) Limits(c *gin.Context) {
	if _, ok := bind(c, nothing{}); ok {
		limits, err := limitsOf(c, h.limiter, models.RequestFrom(c).Quota)
		respond(c, http.StatusOK, limits, err)
	}
}

// myRotation is the input of POST /v1/me/rotate.
type myRotation struct {
	IfMatch ifMatch          `header:"If-Match"`
	Body    rotateKeyRequest `body:"optional"`
}

// Rotate handles POST /v1/me/rotate.
//
//	@Summary		Rotate your key
//	@Description	Creates a successor of the key with the same properties, including its expiry and its counters. The old key keeps working for the grace period and can't be rotated again; keys of earlier rotations end. A key, with its successors, can rotate itself 10 times an hour; then it gets a 429. The response is the only place where the new key is shown.
//	@Tags			me
//	@ID				rotateMe
//	@Accept			json
//	@Produce		json
//	@Param			If-Match	header		string		false	"Rotate only this version: the ETag of an earlier response"
//	@Param			rotate		body		rotateKeyRequest	false	"Grace period"
//	@Success		201		{object}	OwnKeyWithSecret
//	@Header			201		{string}	ETag	"Version of the new key"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		409		{object}	middleware.Problem	"The key was already rotated"
//	@Failure		412		{object}	middleware.Problem
//	@Failure		413		{object}	middleware.Problem
//	@Failure		415		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/me/rotate [post]
func (h *Me) Rotate(c *gin.Context) {
	if in, ok := bind(c, myRotation{}); ok {
		made, err := h.keys.Rotate(c.Request.Context(), keyOf(c).ID, in.Body.duration(), models.Precondition(in.IfMatch))
		respondSecret(c, made.Key.Version, OwnKeyWithSecret{made.Text, showOwn(&made.Key, time.Now())}, err)
	}
}
