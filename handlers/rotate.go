package handlers

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// rotation is what a rotation of a named key takes.
type rotation struct {
	ID      string    `uri:"id"`
	IfMatch ifMatch   `header:"If-Match"`
	Body    rotateKey `body:"optional"`
}

// rotateKey says how a key is rotated.
//
// It is the body of a rotation. By default a caller can change over within a
// day.
type rotateKey struct {
	Grace grace `json:"grace" swaggertype:"string" pattern:"^[0-9]{1,9}(s|m|h|d)$" default:"24h" example:"24h"` // how long the old key works on: 0s to 7d
}

// duration returns the grace period.
func (r *rotateKey) duration() time.Duration { return time.Duration(r.Grace) }

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
//	@Description	Makes a new key that is like the old one in everything, its expiry and whose counters it spends included, so that rotation never doubles a quota. The old key works on for the grace period, and never beyond its own expiry. A key can be rotated once; its successor can be next. The answer is the only place where the new key is shown. Needs every scope of the key too.
//	@Tags			keys
//	@ID				rotateKey
//	@Accept			json
//	@Produce		json
//	@Param			id			path		string		true	"The key's id"	example(9Kx2mV4tQaLp)
//	@Param			If-Match	header		string		false	"Rotate only this version, as an ETag told it"
//	@Param			rotate		body		rotateKey	false	"How long the old key works on"
//	@Success		201			{object}	KeyWithSecret
//	@Header			201			{string}	Location	"Where the new key is"
//	@Header			201			{string}	ETag		"The new key's version"
//	@Failure		400			{object}	middleware.Problem
//	@Failure		404			{object}	middleware.Problem
//	@Failure		409			{object}	middleware.Problem	"The key has ended, or was rotated already"
//	@Failure		412			{object}	middleware.Problem
//	@Failure		413			{object}	middleware.Problem
//	@Failure		415			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys/{id}/rotate [post]
func (h *Keys) Rotate(c *gin.Context) {
	if in, ok := bind(c, rotation{}); ok {
		made, err := h.keys.Rotate(c.Request.Context(), in.ID, in.Body.duration(), models.Precondition(in.IfMatch))
		writeNewKey(c, made.Key, made.Text, err)
	}
}
