package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// ModeService reads and sets the global enforcement mode.
type ModeService interface {
	// Mode returns the mode.
	Mode(ctx context.Context) (models.EnforcementMode, error)
	// SetMode sets the mode and returns it.
	SetMode(ctx context.Context, mode string) (models.EnforcementMode, error)
}

// Limiter serves /v1/admin/limiter.
type Limiter struct {
	mode ModeService
}

// NewLimiter returns the handlers of /v1/admin/limiter.
func NewLimiter(mode ModeService) *Limiter { return &Limiter{mode: mode} }

// LimiterMode is the global enforcement mode.
type LimiterMode struct {
	Mode      string     `json:"mode" enums:"enforce,shadow" example:"enforce"` // with enforce, the mode of each policy applies; with shadow, nothing is refused
	ChangedAt *time.Time `json:"changed_at" example:"2026-01-15T09:30:00Z"`     // when the mode was last changed; null: never
}

func writeMode(c *gin.Context, mode models.EnforcementMode, err error) {
	respond(c, http.StatusOK, LimiterMode{Mode: mode.Mode, ChangedAt: mode.ChangedAt}, err)
}

// Get handles GET /v1/admin/limiter.
//
//	@Summary		Get the enforcement mode
//	@Description	The global mode of all policies. With enforce, the mode of each policy applies; with shadow, nothing is refused.
//	@Tags			limiter
//	@ID				getLimiter
//	@Produce		json
//	@Success		200	{object}	LimiterMode
//	@Router			/v1/admin/limiter [get]
func (h *Limiter) Get(c *gin.Context) {
	if _, ok := bind(c, nothing{}); ok {
		mode, err := h.mode.Mode(c.Request.Context())
		writeMode(c, mode, err)
	}
}

// switchLimiter is the input of PUT /v1/admin/limiter.
type switchLimiter struct {
	Body putLimiterRequest `body:"required"`
}

// putLimiterRequest is the enforcement mode to set.
//
// It is the body of PUT /v1/admin/limiter.
type putLimiterRequest struct {
	Mode string `json:"mode" validate:"required" enums:"enforce,shadow" example:"shadow"` // with enforce, the mode of each policy applies; with shadow, nothing is refused
}

// Put handles PUT /v1/admin/limiter.
//
//	@Summary		Set the enforcement mode
//	@Description	In shadow mode every policy of every plan and key counts what it would have refused, and refuses nothing. Units that are spent stay spent when the mode changes. The change is effective on this instance when the response is sent, and on all others within two seconds.
//	@Tags			limiter
//	@ID				putLimiter
//	@Accept			json
//	@Produce		json
//	@Param			limiter	body		putLimiterRequest	true	"Enforcement mode"
//	@Success		200		{object}	LimiterMode
//	@Failure		400		{object}	middleware.Problem
//	@Failure		413		{object}	middleware.Problem
//	@Failure		415		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/admin/limiter [put]
func (h *Limiter) Put(c *gin.Context) {
	if in, ok := bind(c, switchLimiter{}); ok {
		mode, err := h.mode.SetMode(c.Request.Context(), in.Body.Mode)
		writeMode(c, mode, err)
	}
}
