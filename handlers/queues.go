package handlers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// QueueService shows, pauses and resumes the groups of the queue.
type QueueService interface {
	// Groups returns the state of every group, by name.
	Groups(ctx context.Context) ([]models.QueueGroup, error)
	// SetPaused pauses or resumes a group and returns its state, or
	// models.ErrNotFound.
	SetPaused(ctx context.Context, group string, paused bool) (models.QueueGroup, error)
}

// Queues serves /v1/admin/queues.
type Queues struct {
	queues QueueService
}

// NewQueues returns the handlers of /v1/admin/queues.
func NewQueues(queues QueueService) *Queues { return &Queues{queues: queues} }

// QueueGroups are the groups of the queue.
type QueueGroups struct {
	Data []models.QueueGroup `json:"data"` // all groups, by name
}

// List handles GET /v1/admin/queues.
//
//	@Summary		List queues
//	@Description	The groups of the message queue, with the numbers of their messages. Each group gets every message of its topics; its workers share them.
//	@Tags			queues
//	@ID				listQueues
//	@Produce		json
//	@Success		200	{object}	QueueGroups
//	@Router			/v1/admin/queues [get]
func (h *Queues) List(c *gin.Context) {
	if _, ok := bind(c, nothing{}); ok {
		groups, err := h.queues.Groups(c.Request.Context())
		respond(c, http.StatusOK, QueueGroups{groups}, err)
	}
}

// byGroup identifies a group of the queue.
type byGroup struct {
	Group string `uri:"group"`
}

// Pause handles POST /v1/admin/queues/{group}/pause.
//
//	@Summary		Pause a queue
//	@Description	Stops the deliveries of a group: none starts on this instance after the response, and none on others a second later. Those under way end. Messages wait. Pausing a paused group changes nothing.
//	@Tags			queues
//	@ID				pauseQueue
//	@Produce		json
//	@Param			group	path		string	true	"Group"	example(payment)
//	@Success		200		{object}	models.QueueGroup
//	@Failure		404		{object}	middleware.Problem
//	@Router			/v1/admin/queues/{group}/pause [post]
func (h *Queues) Pause(c *gin.Context) { h.setPaused(c, true) }

// Resume handles POST /v1/admin/queues/{group}/resume.
//
//	@Summary		Resume a queue
//	@Description	Starts the deliveries of a paused group again, on all instances within some seconds. Resuming a group that isn't paused changes nothing.
//	@Tags			queues
//	@ID				resumeQueue
//	@Produce		json
//	@Param			group	path		string	true	"Group"	example(payment)
//	@Success		200		{object}	models.QueueGroup
//	@Failure		404		{object}	middleware.Problem
//	@Router			/v1/admin/queues/{group}/resume [post]
func (h *Queues) Resume(c *gin.Context) { h.setPaused(c, false) }

func (h *Queues) setPaused(c *gin.Context, paused bool) {
	if in, ok := bind(c, byGroup{}); ok {
		group, err := h.queues.SetPaused(c.Request.Context(), in.Group, paused)
		respond(c, http.StatusOK, group, err)
	}
}
