package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// KeyService keeps keys. Each change is refused with a *models.StatusError
// where whoever acts, as the context has it, may not make it.
type KeyService interface {
	// Create stores a new key and returns it with its text.
	Create(ctx context.Context, spec models.NewKey) (models.APIKey, string, error)
	// List returns up to limit keys that filter lets through, newest first,
	// behind after (nil: from the start).
	List(ctx context.Context, filter models.KeyFilter, after *models.Position, limit int) (models.Page[models.APIKey], error)
	// Change lets apply change a key, if it is as expected.
	Change(ctx context.Context, id string, expected models.Expected, apply func(*models.APIKey)) (models.APIKey, error)
	// Rotate makes a key's successor; the key itself ends with its grace.
	Rotate(ctx context.Context, id string, grace time.Duration, expected models.Expected) (models.Rotation, error)
	// Revoke ends a key for good.
	Revoke(ctx context.Context, id string, expected models.Expected) (models.APIKey, error)
	// Reset lets reset make counters of a key fresh, with an audit of it.
	Reset(ctx context.Context, id string, policies []string, reset func(context.Context) error) error
}

// KeyQuotas knows which policies a key has.
type KeyQuotas interface {
	// Quota returns the key with this id and its quota, or models.ErrNotFound.
	Quota(ctx context.Context, id string) (*models.APIKey, *ratelimit.Quota, error)
}

// KeyLimiter knows where a quota stands.
type KeyLimiter interface {
	// PeekAll tells where all policies of a quota stand, and takes nothing.
	PeekAll(ctx context.Context, quota *ratelimit.Quota) (ratelimit.Decision, error)
	// Reset makes the named policies' counters fresh; none: all of them.
	Reset(ctx context.Context, quota *ratelimit.Quota, policies ...string) error
}

// Keys serves /v1/admin/keys.
type Keys struct {
	keys    KeyService
	quotas  KeyQuotas
	limiter KeyLimiter
	cursors *Cursors
	groups  []string
}

// NewKeys returns the handlers of /v1/admin/keys. groups are what policies can
// be bound to.
func NewKeys(keys KeyService, quotas KeyQuotas, limiter KeyLimiter, cursors *Cursors, groups []string) *Keys {
	return &Keys{keys: keys, quotas: quotas, limiter: limiter, cursors: cursors, groups: groups}
}

// Create answers POST /v1/admin/keys.
//
//	@Summary		Create a key
//	@Description	The answer is the only place where the key is shown. Needs every scope that the key gets too, and admin to give it to another owner.
//	@Tags			keys
//	@ID				createKey
//	@Accept			json
//	@Produce		json
//	@Param			key	body		createKey	true	"What the key shall be; only its name is required"
//	@Success		201	{object}	KeyWithSecret
//	@Header			201	{string}	Location	"Where the key is"
//	@Header			201	{string}	ETag		"The key's version"
//	@Failure		400	{object}	models.Problem
//	@Failure		413	{object}	models.Problem
//	@Failure		415	{object}	models.Problem
//	@Failure		422	{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys [post]
func (h *Keys) Create(c *gin.Context) {
	if in, ok := bind(c, makeKey{Body: createKey{groups: h.groups}}); ok {
		key, text, err := h.keys.Create(c.Request.Context(), in.Body.toModel())
		writeNewKey(c, key, text, err)
	}
}

// writeNewKey answers with a key that was just made, unless err says that none
// was.
func writeNewKey(c *gin.Context, key models.APIKey, text string, err error) {
	var shown Key
	if err == nil {
		shown, err = ShowKey(key, time.Now())
	}
	if err == nil {
		c.Header("Location", "/v1/admin/keys/"+key.ID)
	}
	answerSecret(c, key.Version, KeyWithSecret{text, shown}, err)
}

// List answers GET /v1/admin/keys.
//
//	@Summary		List keys
//	@Description	Newest first, a page at a time.
//	@Tags			keys
//	@ID				listKeys
//	@Produce		json
//	@Param			filter	query	keyFilter	false	"Which keys"
//	@Param			page	query	page	false	"Which page"
//	@Success		200		{object}	List[Key]
//	@Failure		400		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys [get]
func (h *Keys) List(c *gin.Context) {
	if in, ok := bind(c, listKeys{Page: h.cursors.page("keys")}); ok {
		keys, err := h.keys.List(c.Request.Context(), in.Filter.toModel(), in.Page.after, in.Page.Limit)
		now := time.Now()
		writeShown(c, in.Page, keys, err, func(key models.APIKey) (Key, error) { return ShowKey(key, now) })
	}
}

// Get answers GET /v1/admin/keys/{id}.
//
//	@Summary		Get a key
//	@Description	One key with its quota: the policies that hold for it now, from its plan and its overrides.
//	@Tags			keys
//	@ID				getKey
//	@Produce		json
//	@Param			id	path		string	true	"The key's id"
//	@Success		200	{object}	KeyWithQuota
//	@Header			200	{string}	ETag	"The key's version"
//	@Failure		404	{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys/{id} [get]
func (h *Keys) Get(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		key, err := h.withQuota(c.Request.Context(), in.ID)
		answerVersioned(c, http.StatusOK, key.Version, key, err)
	}
}

// withQuota returns a key with what holds for it now.
func (h *Keys) withQuota(ctx context.Context, id string) (KeyWithQuota, error) {
	key, quota, err := h.quotas.Quota(ctx, id)
	if err != nil {
		return KeyWithQuota{}, err
	}
	now := time.Now()
	shown, err := ShowKey(*key, now)
	return KeyWithQuota{shown, showQuota(key, quota, now)}, err
}

// Patch answers PATCH /v1/admin/keys/{id}.
//
//	@Summary		Change a key
//	@Description	A JSON merge patch (RFC 7396): what it doesn't name stays, null takes a value away, lists are replaced whole. In force when the answer leaves. Needs every scope that the key has before and after too, and admin to give it to another owner.
//	@Tags			keys
//	@ID				patchKey
//	@Accept			json
//	@Produce		json
//	@Param			id			path		string			true	"The key's id"
//	@Param			If-Match	header		string			false	"Change only this version, as an ETag told it"
//	@Param			patch		body		keyPatch	true	"What to change"
//	@Success		200			{object}	Key
//	@Header			200			{string}	ETag	"The key's version"
//	@Failure		400			{object}	models.Problem
//	@Failure		404			{object}	models.Problem
//	@Failure		409			{object}	models.Problem	"It is the last admin key"
//	@Failure		412			{object}	models.Problem
//	@Failure		413			{object}	models.Problem
//	@Failure		415			{object}	models.Problem
//	@Failure		422			{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys/{id} [patch]
func (h *Keys) Patch(c *gin.Context) {
	if in, ok := bind(c, changeKey{Body: patchKey{groups: h.groups}}); ok {
		key, err := h.keys.Change(c.Request.Context(), in.ID, models.Expected(in.IfMatch), in.Body.apply)
		writeKey(c, key, err)
	}
}

// writeKey answers with a key as it is after a change.
func writeKey(c *gin.Context, key models.APIKey, err error) {
	var shown Key
	if err == nil {
		shown, err = ShowKey(key, time.Now())
	}
	answerVersioned(c, http.StatusOK, key.Version, shown, err)
}

// versionedKey names a key, and the version that is meant.
type versionedKey struct {
	ID      string  `uri:"id"`
	IfMatch ifMatch `header:"If-Match"`
}

// Revoke answers POST /v1/admin/keys/{id}/revoke.
//
//	@Summary		Revoke a key
//	@Description	Ends the key for good, when the answer leaves. Revoking it again changes nothing. Needs every scope of the key too.
//	@Tags			keys
//	@ID				revokeKey
//	@Produce		json
//	@Param			id			path		string	true	"The key's id"
//	@Param			If-Match	header		string	false	"Revoke only this version, as an ETag told it"
//	@Success		200			{object}	Key
//	@Header			200			{string}	ETag	"The key's version"
//	@Failure		404			{object}	models.Problem
//	@Failure		409			{object}	models.Problem	"It is the last admin key"
//	@Failure		412			{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys/{id}/revoke [post]
func (h *Keys) Revoke(c *gin.Context) {
	if in, ok := bind(c, versionedKey{}); ok {
		key, err := h.keys.Revoke(c.Request.Context(), in.ID, models.Expected(in.IfMatch))
		writeKey(c, key, err)
	}
}
