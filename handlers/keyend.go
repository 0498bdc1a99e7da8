package handlers

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// revocation is the input of POST /v1/admin/keys/{id}/revoke.
type revocation struct {
	ID      string           `uri:"id"`
	IfMatch ifMatch          `header:"If-Match"`
	Body    revokeKeyRequest `body:"optional"`
}

// revokeKeyRequest is the extent of a revocation.
//
// By default the whole chain ends, because a thief may have rotated the key.
type revokeKeyRequest struct {
	Chain bool `json:"chain" default:"true" example:"true"` // whether also the keys end that the key was rotated from and to
}

// Revoke handles POST /v1/admin/keys/{id}/revoke.
//
//	@Summary		Revoke a key
//	@Description	Ends the key permanently, with the keys that it was rotated from and to, effective when the response is sent; with "chain" false, only this key. Revoking a key again changes nothing. The caller must hold every scope of these keys.
//	@Tags			keys
//	@ID				revokeKey
//	@Accept			json
//	@Produce		json
//	@Param			id			path		string	true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			If-Match	header		string	false	"Revoke only this version: the ETag of an earlier response"
//	@Param			revoke		body		revokeKeyRequest	false	"Extent"
//	@Success		200			{object}	Key
//	@Header			200			{string}	ETag	"Version of the key"
//	@Failure		400			{object}	middleware.Problem
//	@Failure		404			{object}	middleware.Problem
//	@Failure		409			{object}	middleware.Problem	"The last admin key is among them"
//	@Failure		412			{object}	middleware.Problem
//	@Failure		413			{object}	middleware.Problem
//	@Failure		415			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/revoke [post]
func (h *Keys) Revoke(c *gin.Context) {
	if in, ok := bind(c, revocation{}); ok {
		key, err := h.keys.Revoke(c.Request.Context(), in.ID, in.Body.Chain, models.Precondition(in.IfMatch))
		writeKey(c, key, err)
	}
}

// revokeMany is the input of POST /v1/admin/keys/revoke.
type revokeMany struct {
	Body revokeKeysRequest `body:"required"`
}

// revokeKeysRequest selects the keys to revoke: by owner or by subject.
//
// It is the body of POST /v1/admin/keys/revoke.
type revokeKeysRequest struct {
	Owner   binding.Optional[string] `json:"owner" swaggertype:"string" minLength:"1" maxLength:"100" example:"own_5HqT1bZr8wYk"` // all keys of this owner
	Subject binding.Optional[string] `json:"subject" swaggertype:"string" minLength:"1" maxLength:"100"`                          // all keys of this subject: a key with those that it was rotated from and to
}

// Validate checks that the keys are selected in one way.
func (r *revokeKeysRequest) Validate(faults *models.Faults) {
	switch {
	case !r.Owner.Present && !r.Subject.Present:
		faults.Add("required", "is required, unless subject is given", "owner")
	case r.Owner.Present && r.Subject.Present:
		faults.Add("not_allowed", "must not be given together with owner", "subject")
	}
}

// RevokedKeys is the result of a revocation by owner or subject.
type RevokedKeys struct {
	Revoked int `json:"revoked" minimum:"0" example:"3"` // how many keys ended; others had ended before
}

// RevokeAll handles POST /v1/admin/keys/revoke.
//
//	@Summary		Revoke the keys of an owner or a subject
//	@Description	Ends all keys of an owner, or of a subject, permanently, effective when the response is sent. The caller must hold every scope of each of these keys; otherwise none is revoked.
//	@Tags			keys
//	@ID				revokeKeys
//	@Accept			json
//	@Produce		json
//	@Param			revoke	body		revokeKeysRequest	true	"Owner or subject"
//	@Success		200		{object}	RevokedKeys
//	@Failure		400		{object}	middleware.Problem
//	@Failure		409		{object}	middleware.Problem	"The last admin key is among them"
//	@Failure		413		{object}	middleware.Problem
//	@Failure		415		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/admin/keys/revoke [post]
func (h *Keys) RevokeAll(c *gin.Context) {
	if in, ok := bind(c, revokeMany{}); ok {
		n, err := h.keys.RevokeAll(c.Request.Context(), models.KeySelector{Owner: in.Body.Owner.Value, Subject: in.Body.Subject.Value})
		respond(c, http.StatusOK, RevokedKeys{n}, err)
	}
}

// versionedKey identifies a key, optionally in a certain version.
type versionedKey struct {
	ID      string  `uri:"id"`
	IfMatch ifMatch `header:"If-Match"`
}

// Suspend handles POST /v1/admin/keys/{id}/suspend.
//
//	@Summary		Suspend a key
//	@Description	Until it is resumed, the key gets 403 with the code key_suspended, which costs nothing and is not recorded; effective when the response is sent. The keys that it was rotated from and to stay active. Suspending a key again changes nothing. The caller must hold every scope of the key.
//	@Tags			keys
//	@ID				suspendKey
//	@Produce		json
//	@Param			id			path		string	true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			If-Match	header		string	false	"Suspend only this version: the ETag of an earlier response"
//	@Success		200			{object}	Key
//	@Header			200			{string}	ETag	"Version of the key"
//	@Failure		404			{object}	middleware.Problem
//	@Failure		409			{object}	middleware.Problem	"The key is revoked, or it is the last admin key"
//	@Failure		412			{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/suspend [post]
func (h *Keys) Suspend(c *gin.Context) { h.setSuspended(c, true) }

// Resume handles POST /v1/admin/keys/{id}/resume.
//
//	@Summary		Resume a key
//	@Description	Ends the suspension of a key, effective when the response is sent. Resuming a key that isn't suspended changes nothing. The caller must hold every scope of the key, and admin if the key expires later or has a wider ip_allow than its own key.
//	@Tags			keys
//	@ID				resumeKey
//	@Produce		json
//	@Param			id			path		string	true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			If-Match	header		string	false	"Resume only this version: the ETag of an earlier response"
//	@Success		200			{object}	Key
//	@Header			200			{string}	ETag	"Version of the key"
//	@Failure		404			{object}	middleware.Problem
//	@Failure		409			{object}	middleware.Problem	"The key is revoked, which is final"
//	@Failure		412			{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/resume [post]
func (h *Keys) Resume(c *gin.Context) { h.setSuspended(c, false) }

func (h *Keys) setSuspended(c *gin.Context, suspended bool) {
	if in, ok := bind(c, versionedKey{}); ok {
		key, err := h.keys.SetSuspended(c.Request.Context(), in.ID, suspended, models.Precondition(in.IfMatch))
		writeKey(c, key, err)
	}
}
