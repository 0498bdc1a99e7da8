package handlers

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Me serves /v1/me, a key's view of itself, from memory.
type Me struct {
	keys    KeyService
	limiter KeyLimiter
}

// NewMe returns the handlers of /v1/me.
func NewMe(keys KeyService, limiter KeyLimiter) *Me { return &Me{keys: keys, limiter: limiter} }

// OwnKey is an API key as its caller sees it: without what operators keep about
// it.
type OwnKey struct {
	ID        string           `json:"id" example:"9Kx2mV4tQaLp"`                                    // names the key
	Name      string           `json:"name" example:"Checkout service"`                              // what operators call it
	Plan      string           `json:"plan" example:"free"`                                          // whose policies it has
	Scopes    []models.Scope   `json:"scopes" example:"products:read,orders:read"`                   // what it may do
	Owner     string           `json:"owner" example:"own_5HqT1bZr8wYk"`                             // groups keys; orders belong to it
	Subject   string           `json:"subject" example:"9Kx2mV4tQaLp"`                               // whose counters it spends
	Status    models.KeyStatus `json:"status" enums:"active" example:"active"`                       // whether it works
	IPAllow   []netip.Prefix   `json:"ip_allow" swaggertype:"array,string" example:"203.0.113.0/24"` // where it may be used; empty: anywhere
	CreatedAt time.Time        `json:"created_at" example:"2026-01-15T09:30:00Z"`                    // when it was made
	ExpiresAt *time.Time       `json:"expires_at" example:"2037-01-15T09:30:00Z"`                    // null: never
}

// OwnKeyWithQuota is one's own key with what holds for it now.
type OwnKeyWithQuota struct {
	OwnKey
	Quota []QuotaPolicy `json:"quota"` // the policies that hold now
}

// OwnKeyWithSecret is one's own new key with its text, which stands nowhere
// else.
type OwnKeyWithSecret struct {
	Secret string `json:"key" example:"rl_live_9Kx2mV4tQaLp_…"` // shown this once
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
//	@Summary		See my key
//	@Description	What the key of this request is and may do, and its quota. Costs nothing.
//	@Tags			me
//	@ID				getMe
//	@Produce		json
//	@Success		200	{object}	OwnKeyWithQuota
//	@Header			200	{string}	ETag	"The key's version"
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/me [get]
func (h *Me) Get(c *gin.Context) {
	if _, ok := bind(c, nothing{}); ok {
		key, now := keyOf(c), time.Now()
		respondVersioned(c, http.StatusOK, key.Version, OwnKeyWithQuota{showOwn(key, now), showQuota(key, models.RequestFrom(c).Quota, now)}, nil)
	}
}

// Limits handles GET /v1/me/limits.
//
//	@Summary		See where I stand
//	@Description	What is left of every policy of the key. Looking costs nothing.
//	@Tags			me
//	@ID				getMyLimits
//	@Produce		json
//	@Success		200	{object}	KeyLimits
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/me/limits [get]
func (h *Me) Limits(c *gin.Context) {
	if _, ok := bind(c, nothing{}); ok {
		limits, err := limitsOf(c, h.limiter, models.RequestFrom(c).Quota)
		respond(c, http.StatusOK, limits, err)
	}
}

// myRotation is what POST /v1/me/rotate takes.
type myRotation struct {
	IfMatch ifMatch   `header:"If-Match"`
	Body    rotateKey `body:"optional"`
}

// Rotate handles POST /v1/me/rotate.
//
//	@Summary		Rotate my key
//	@Description	Makes a new key that is like this one in everything, its expiry and whose counters it spends included. This one works on for the grace period, and can't be rotated again. The answer is the only place where the new key is shown.
//	@Tags			me
//	@ID				rotateMe
//	@Accept			json
//	@Produce		json
//	@Param			If-Match	header		string		false	"Rotate only this version, as an ETag told it"
//	@Param			rotate		body		rotateKey	false	"How long this key works on"
//	@Success		201		{object}	OwnKeyWithSecret
//	@Header			201		{string}	ETag	"The new key's version"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		409		{object}	middleware.Problem	"The key was rotated already"
//	@Failure		412		{object}	middleware.Problem
//	@Failure		413		{object}	middleware.Problem
//	@Failure		415		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/me/rotate [post]
func (h *Me) Rotate(c *gin.Context) {
	if in, ok := bind(c, myRotation{}); ok {
		made, err := h.keys.Rotate(c.Request.Context(), keyOf(c).ID, in.Body.duration(), models.Precondition(in.IfMatch))
		respondSecret(c, made.Key.Version, OwnKeyWithSecret{made.Text, showOwn(&made.Key, time.Now())}, err)
	}
}
