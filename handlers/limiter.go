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

// LimiterMode says whether policies refuse, all over.
type LimiterMode struct {
	Mode      string     `json:"mode" enums:"enforce,shadow" example:"enforce"` // with enforce each policy's own mode holds; with shadow none refuses
	ChangedAt *time.Time `json:"changed_at" example:"2026-01-15T09:30:00Z"`     // when it was last changed; null: never
}

func writeMode(c *gin.Context, mode models.EnforcementMode, err error) {
	respond(c, http.StatusOK, LimiterMode{Mode: mode.Mode, ChangedAt: mode.ChangedAt}, err)
}

// Get handles GET /v1/admin/limiter.
//
//	@Summary		See the limiter's mode
//	@Description	Whether policies refuse: enforce lets each policy have its own mode; with shadow none refuses anything.
//	@Tags			limiter
//	@ID				getLimiter
//	@Produce		json
//	@Success		200	{object}	LimiterMode
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/limiter [get]
func (h *Limiter) Get(c *gin.Context) {
	if _, ok := bind(c, nothing{}); ok {
		mode, err := h.mode.Mode(c.Request.Context())
		writeMode(c, mode, err)
	}
}

// switchLimiter is what PUT /v1/admin/limiter takes.
type switchLimiter struct {
	Body putLimiter `body:"required"`
}

// putLimiter is what the limiter's mode shall be.
//
// It is the body of PUT /v1/admin/limiter.
type putLimiter struct {
	Mode string `json:"mode" validate:"required" enums:"enforce,shadow" example:"shadow"` // with shadow nothing is refused
}

// Put handles PUT /v1/admin/limiter.
//
//	@Summary		Switch all limits off, or on again
//	@Description	With shadow every policy of every plan and key counts what it would have refused, and refuses nothing, until the mode is enforce again; what was spent stays spent. It is in force on this instance when the answer leaves, and on every other within two seconds.
//	@Tags			limiter
//	@ID				putLimiter
//	@Accept			json
//	@Produce		json
//	@Param			limiter	body		putLimiter	true	"What the mode shall be"
//	@Success		200		{object}	LimiterMode
//	@Failure		400		{object}	middleware.Problem
//	@Failure		413		{object}	middleware.Problem
//	@Failure		415		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/limiter [put]
func (h *Limiter) Put(c *gin.Context) {
	if in, ok := bind(c, switchLimiter{}); ok {
		mode, err := h.mode.SetMode(c.Request.Context(), in.Body.Mode)
		writeMode(c, mode, err)
	}
}
