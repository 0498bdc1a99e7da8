package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// KeyService manages keys. A change that the context's actor may not make fails
// with models.KindForbidden.
type KeyService interface {
	// Create stores a new key and returns it with its text.
	Create(ctx context.Context, spec models.NewKey) (models.APIKey, string, error)
	// Get returns the key with this id, or models.ErrNotFound.
	Get(ctx context.Context, id string) (models.APIKey, error)
	// List returns up to limit keys that match filter, newest first, starting
	// after the position after (nil: the start).
	List(ctx context.Context, filter models.KeyFilter, after *models.Position, limit int) (models.Page[models.APIKey], error)
	// Change lets apply change a key that meets the condition.
	Change(ctx context.Context, id string, condition models.Precondition, apply func(*models.APIKey)) (models.APIKey, error)
	// Rotate creates a key's successor; the key itself expires after grace.
	Rotate(ctx context.Context, id string, grace time.Duration, condition models.Precondition) (models.Rotation, error)
	// Revoke ends a key permanently; with chain, also the keys that it was
	// rotated from and to.
	Revoke(ctx context.Context, id string, chain bool, condition models.Precondition) (models.APIKey, error)
	// RevokeAll ends the keys of an owner or a subject permanently and returns
	// how many it ended.
	RevokeAll(ctx context.Context, of models.KeySelector) (int, error)
	// SetSuspended suspends or resumes a key.
	SetSuspended(ctx context.Context, id string, suspended bool, condition models.Precondition) (models.APIKey, error)
	// Reset audits a reset of counters, which reset performs.
	Reset(ctx context.Context, id string, policies []string, reset func(context.Context) error) error
}

// KeyQuotas reads the quotas of keys.
type KeyQuotas interface {
	// Quota returns the key with this id and its quota, or models.ErrNotFound.
	Quota(ctx context.Context, id string) (*models.APIKey, *ratelimit.Quota, error)
}

// KeyLimiter reads and resets counters.
type KeyLimiter interface {
	// PeekAll returns the state of all policies of a quota and takes nothing.
	PeekAll(ctx context.Context, quota *ratelimit.Quota) (ratelimit.Decision, error)
	// Reset clears the counters of the named policies; none: of all.
	Reset(ctx context.Context, quota *ratelimit.Quota, policies ...string) error
}

// Keys serves /v1/admin/keys.
type Keys struct {
	keys    KeyService
	quotas  KeyQuotas
	limiter KeyLimiter
	cursors *Cursors
}

// NewKeys returns the handlers of /v1/admin/keys.
func NewKeys(keys KeyService, quotas KeyQuotas, limiter KeyLimiter, cursors *Cursors) *Keys {
	return &Keys{keys: keys, quotas: quotas, limiter: limiter, cursors: cursors}
}

// Create handles POST /v1/admin/keys.
//
//	@Summary		Create a key
//	@Description	The response is the only place where the key is shown. The caller must hold every scope that the key gets, and admin to give it to another owner.
//	@Tags			keys
//	@ID				createKey
//	@Accept			json
//	@Produce		json
//	@Param			key	body		createKeyRequest	true	"The key; only its name is required"
//	@Success		201	{object}	KeyWithSecret
//	@Header			201	{string}	Location	"Path of the key"
//	@Header			201	{string}	ETag		"Version of the key"
//	@Failure		400	{object}	middleware.Problem
//	@Failure		413	{object}	middleware.Problem
//	@Failure		415	{object}	middleware.Problem
//	@Failure		422	{object}	middleware.Problem
//	@Router			/v1/admin/keys [post]
func (h *Keys) Create(c *gin.Context) {
	if in, ok := bind(c, makeKey{}); ok {
		key, text, err := h.keys.Create(c.Request.Context(), in.Body.toModel())
		writeNewKey(c, key, text, err)
	}
}

// writeNewKey responds with a key that was just created, or fails with err.
func writeNewKey(c *gin.Context, key models.APIKey, text string, err error) {
	if err == nil {
		c.Header("Location", "/v1/admin/keys/"+key.ID)
	}
	respondSecret(c, key.Version, KeyWithSecret{text, ShowKey(key, time.Now())}, err)
}

// List handles GET /v1/admin/keys.
//
//	@Summary		List keys
//	@Description	Keys, newest first.
//	@Tags			keys
//	@ID				listKeys
//	@Produce		json
//	@Param			filter	query	keyFilter	false	"Filter"
//	@Param			page	query	page	false	"Page"
//	@Success		200		{object}	List[Key]
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/admin/keys [get]
func (h *Keys) List(c *gin.Context) {
	if in, ok := bind(c, listKeys{Page: h.cursors.page("keys")}); ok {
		keys, err := h.keys.List(c.Request.Context(), in.Filter.toModel(), in.Page.after, in.Page.Limit)
		now := time.Now()
		respondShown(c, in.Page, keys, err, func(key models.APIKey) Key { return ShowKey(key, now) })
	}
}

// Get handles GET /v1/admin/keys/{id}.
//
//	@Summary		Get a key
//	@Description	A key with its quota: the policies that apply to it now, from its plan and its overrides.
//	@Tags			keys
//	@ID				getKey
//	@Produce		json
//	@Param			id	path		string	true	"Key id"	example(9Kx2mV4tQaLp)
//	@Success		200	{object}	KeyWithQuota
//	@Header			200	{string}	ETag	"Version of the key"
//	@Failure		404	{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id} [get]
func (h *Keys) Get(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		key, err := h.withQuota(c.Request.Context(), in.ID)
		respondVersioned(c, http.StatusOK, key.Version, key, err)
	}
}

// withQuota returns a key with its current quota.
func (h *Keys) withQuota(ctx context.Context, id string) (KeyWithQuota, error) {
	key, quota, err := h.quotas.Quota(ctx, id)
	if err != nil {
		return KeyWithQuota{}, err
	}
	return ShowKeyWithQuota(key, quota, time.Now()), nil
}

// Patch handles PATCH /v1/admin/keys/{id}.
//
//	@Summary		Change a key
//	@Description	A JSON merge patch (RFC 7396): absent fields stay unchanged, null removes a value, lists are replaced as a whole. The change is effective when the response is sent. The caller must hold every scope that the key has before and after the change, and admin to give it to another owner.
//	@Tags			keys
//	@ID				updateKey
//	@Accept			json
//	@Produce		json
//	@Param			id			path		string			true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			If-Match	header		string			false	"Change only this version: the ETag of an earlier response"
//	@Param			patch		body		updateKeyRequest	true	"Changes"
//	@Success		200			{object}	Key
//	@Header			200			{string}	ETag	"Version of the key"
//	@Failure		400			{object}	middleware.Problem
//	@Failure		404			{object}	middleware.Problem
//	@Failure		409			{object}	middleware.Problem	"The key is the last admin key"
//	@Failure		412			{object}	middleware.Problem
//	@Failure		413			{object}	middleware.Problem
//	@Failure		415			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id} [patch]
func (h *Keys) Patch(c *gin.Context) {
	if in, ok := bind(c, changeKey{}); ok {
		key, err := h.keys.Change(c.Request.Context(), in.ID, models.Precondition(in.IfMatch), in.Body.apply)
		writeKey(c, key, err)
	}
}

// writeKey responds with a changed key, or fails with err.
func writeKey(c *gin.Context, key models.APIKey, err error) {
	respondVersioned(c, http.StatusOK, key.Version, ShowKey(key, time.Now()), err)
}
