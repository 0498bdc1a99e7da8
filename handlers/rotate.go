package handlers

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// rotation is the input of POST /v1/admin/keys/{id}/rotate.
type rotation struct {
	ID      string           `uri:"id"`
	IfMatch ifMatch          `header:"If-Match"`
	Body    rotateKeyRequest `body:"optional"`
}

// rotateKeyRequest is the body of a rotation.
//
// By default a client has one day to switch to the new key.
type rotateKeyRequest struct {
	Grace grace `json:"grace" swaggertype:"string" pattern:"^[0-9]{1,9}(s|m|h|d)$" default:"24h" example:"24h"` // how long the old key keeps working, from 0s to 7d
}

// duration returns the grace period.
func (r *rotateKeyRequest) duration() time.Duration { return time.Duration(r.Grace) }

// grace is a duration with the syntax of policy periods.
type grace time.Duration

var gracePattern = regexp.MustCompile(`^([0-9]{1,9})(s|m|h|d)$`)

// ParseText parses a grace period.
func (g *grace) ParseText(text string) (code, message string) {
	parts := gracePattern.FindStringSubmatch(text)
	if parts == nil {
		return "pattern", "must be an integer with s, m, h or d, such as 24h"
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return "pattern", "must be an integer with s, m, h or d, such as 24h"
	}
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	unit := units[parts[2]]
	if time.Duration(n) > models.MaxGrace/unit {
		return "range", "must be from 0s to 7d"
	}
	*g = grace(time.Duration(n) * unit)
	return "", ""
}

// ParseGrace parses a grace period by the rules of the API; message is empty or
// the fault.
func ParseGrace(text string) (period time.Duration, message string) {
	var g grace
	_, message = g.ParseText(strings.TrimSpace(text))
	return time.Duration(g), message
}

// Rotate handles POST /v1/admin/keys/{id}/rotate.
//
//	@Summary		Rotate a key
//	@Description	Creates a successor of the key with the same properties, including its expiry and its counters, so that a rotation never doubles a quota. The old key keeps working for the grace period, but not beyond its own expiry. A key can be rotated only once; then its successor can be rotated, which ends keys of earlier rotations that are still valid. The response is the only place where the new key is shown. The caller must hold every scope of the key.
//	@Tags			keys
//	@ID				rotateKey
//	@Accept			json
//	@Produce		json
//	@Param			id			path		string		true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			If-Match	header		string		false	"Rotate only this version: the ETag of an earlier response"
//	@Param			rotate		body		rotateKeyRequest	false	"Grace period"
//	@Success		201			{object}	KeyWithSecret
//	@Header			201			{string}	Location	"Path of the new key"
//	@Header			201			{string}	ETag		"Version of the new key"
//	@Failure		400			{object}	middleware.Problem
//	@Failure		404			{object}	middleware.Problem
//	@Failure		409			{object}	middleware.Problem	"The key is suspended, has ended or was already rotated"
//	@Failure		412			{object}	middleware.Problem
//	@Failure		413			{object}	middleware.Problem
//	@Failure		415			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/rotate [post]
func (h *Keys) Rotate(c *gin.Context) {
	if in, ok := bind(c, rotation{}); ok {
		made, err := h.keys.Rotate(c.Request.Context(), in.ID, in.Body.duration(), models.Precondition(in.IfMatch))
		writeNewKey(c, made.Key, made.Text, err)
	}
}
