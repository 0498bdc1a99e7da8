package handlers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Readiness reports whether the service can handle requests.
type Readiness interface {
	// NotReady returns the reason, a sentence for operators, or "" when ready.
	NotReady(ctx context.Context) string
	// Limitation returns what doesn't work although requests are handled, a sentence
	// for operators, or "".
	Limitation() string
}

// Health serves /livez and /readyz.
type Health struct {
	readiness Readiness
}

// NewHealth returns the handlers of /livez and /readyz.
func NewHealth(readiness Readiness) *Health { return &Health{readiness: readiness} }

// healthStatus is the successful response of a probe.
type healthStatus struct {
	Status string `json:"status" example:"ok"` // always ok; failures are problems
	// What doesn't work although requests are served, such as a message broker.
	Detail string `json:"detail,omitempty" example:"The message broker can't be used: orders are accepted, and their messages wait."`
}

// Live handles GET /livez: the process is running.
//
//	@Summary		Check liveness
//	@Description	Responds while the process runs. If it does not respond, restart the process.
//	@Tags			health
//	@ID				livez
//	@Produce		json
//	@Success		200	{object}	healthStatus
//	@Router			/livez [get]
func (h *Health) Live(c *gin.Context) { c.JSON(http.StatusOK, healthStatus{Status: "ok"}) }

// Ready handles GET /readyz: the service can handle requests.
//
//	@Summary		Check readiness
//	@Description	Responds 503 while the database is unreachable, read-only or without space, while a migration is pending, and during shutdown. An unusable message broker is a detail of the response: orders are accepted without it.
//	@Tags			health
//	@ID				readyz
//	@Produce		json
//	@Success		200	{object}	healthStatus
//	@Failure		503	{object}	middleware.Problem
//	@Router			/readyz [get]
func (h *Health) Ready(c *gin.Context) {
	if reason := h.readiness.NotReady(c.Request.Context()); reason != "" {
		fail(c, &models.Error{Kind: models.KindUnavailable, Message: reason})
		return
	}
	c.JSON(http.StatusOK, healthStatus{Status: "ok", Detail: h.readiness.Limitation()})
}
