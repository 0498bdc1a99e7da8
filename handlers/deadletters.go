package handlers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// DeadLetterService manages dead letters.
type DeadLetterService interface {
	// DeadLetters returns up to limit dead letters that match, newest first,
	// starting after the position after (nil: the start).
	DeadLetters(ctx context.Context, f models.DeadLetterFilter, after *models.Position, limit int) (models.Page[models.DeadLetter], error)
	// Redrive puts a dead letter back into its group, or returns
	// models.ErrNotFound.
	Redrive(ctx context.Context, id string) error
	// RedriveAll puts back the dead letters that match and returns how many; a dry
	// run only counts them.
	RedriveAll(ctx context.Context, f models.DeadLetterFilter, dryRun bool) (int64, error)
	// Discard deletes a dead letter, or returns models.ErrNotFound.
	Discard(ctx context.Context, id string) error
}

// DeadLetters serves /v1/admin/dead-letters.
type DeadLetters struct {
	letters DeadLetterService
	cursors *Cursors
}

// NewDeadLetters returns the handlers of /v1/admin/dead-letters.
func NewDeadLetters(letters DeadLetterService, cursors *Cursors) *DeadLetters {
	return &DeadLetters{letters: letters, cursors: cursors}
}

// listDeadLetters is the input of GET /v1/admin/dead-letters.
type listDeadLetters struct {
	Filter deadLetterFilter
	Page   page
}

// deadLetterFilter selects dead letters.
type deadLetterFilter struct {
	Group  string `form:"group" maxLength:"200" example:"payment"`      // Only those of this group
	Topic  string `form:"topic" maxLength:"200" example:"order.placed"` // Only those of this topic
	Reason string `form:"reason" maxLength:"200" example:"timeout"`     // Only those whose reason contains this text, in upper or lower case
}

// List handles GET /v1/admin/dead-letters.
//
//	@Summary		List dead letters
//	@Description	Messages that were set aside because their attempts are used up or no retry can help, newest first. Email addresses and payment tokens are masked. Dead letters stay until they are redriven or discarded.
//	@Tags			queues
//	@ID				listDeadLetters
//	@Produce		json
//	@Param			filter	query	deadLetterFilter	false	"Filter"
//	@Param			page	query	page	false	"Page"
//	@Success		200		{object}	List[models.DeadLetter]
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/admin/dead-letters [get]
func (h *DeadLetters) List(c *gin.Context) {
	if in, ok := bind(c, listDeadLetters{Page: h.cursors.page("dead letters")}); ok {
		letters, err := h.letters.DeadLetters(c.Request.Context(), models.DeadLetterFilter(in.Filter), in.Page.after, in.Page.Limit)
		respondPage(c, in.Page, letters, err)
	}
}

// Redriven is the result of a redrive.
type Redriven struct {
	Redriven int64 `json:"redriven" minimum:"0" example:"3"` // how many dead letters were put back; of a dry run, how many would be
}

// Redrive handles POST /v1/admin/dead-letters/{id}/redrive.
//
//	@Summary		Redrive a dead letter
//	@Description	Puts the message back into its group: it is delivered again soon, with its attempts reset and its history kept.
//	@Tags			queues
//	@ID				redriveDeadLetter
//	@Produce		json
//	@Param			id	path		string	true	"Dead letter id"	example(4711)
//	@Success		202	{object}	Redriven
//	@Failure		404	{object}	middleware.Problem
//	@Failure		409	{object}	middleware.Problem	"The message can't be decoded"
//	@Router			/v1/admin/dead-letters/{id}/redrive [post]
func (h *DeadLetters) Redrive(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		err := h.letters.Redrive(c.Request.Context(), in.ID)
		respond(c, http.StatusAccepted, Redriven{1}, err)
	}
}

// redriveMany is the input of POST /v1/admin/dead-letters/redrive.
type redriveMany struct {
	Body redriveDeadLettersRequest `body:"required"`
}

// redriveDeadLettersRequest selects the dead letters to redrive. Without group, topic and
// reason, dry_run is required, so that nobody redrives all by an empty body.
//
// It is the body of POST /v1/admin/dead-letters/redrive.
type redriveDeadLettersRequest struct {
	Group  binding.Optional[string] `json:"group" swaggertype:"string" minLength:"1" maxLength:"200" example:"payment"`      // only those of this group
	Topic  binding.Optional[string] `json:"topic" swaggertype:"string" minLength:"1" maxLength:"200" example:"order.placed"` // only those of this topic
	Reason binding.Optional[string] `json:"reason" swaggertype:"string" minLength:"1" maxLength:"200" example:"timeout"`     // only those whose reason contains this text, in upper or lower case
	DryRun binding.Optional[bool]   `json:"dry_run" swaggertype:"boolean" example:"true"`                                    // whether only to count them; by default false
}

// Validate checks that a redrive of all dead letters is meant.
func (r *redriveDeadLettersRequest) Validate(faults *models.Faults) {
	if !r.Group.Present && !r.Topic.Present && !r.Reason.Present && !r.DryRun.Present {
		faults.Add("required", "is required, unless group, topic or reason is given: false redrives all dead letters", "dry_run")
	}
}

// RedriveAll handles POST /v1/admin/dead-letters/redrive.
//
//	@Summary		Redrive dead letters
//	@Description	Puts all dead letters that match back into their groups, the oldest first, at a low priority. Those that can't be decoded stay. Without a filter, "dry_run" must be given: false redrives all dead letters.
//	@Tags			queues
//	@ID				redriveDeadLetters
//	@Accept			json
//	@Produce		json
//	@Param			redrive	body		redriveDeadLettersRequest	true	"Filter"
//	@Success		202		{object}	Redriven
//	@Failure		400		{object}	middleware.Problem
//	@Failure		413		{object}	middleware.Problem
//	@Failure		415		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/admin/dead-letters/redrive [post]
func (h *DeadLetters) RedriveAll(c *gin.Context) {
	if in, ok := bind(c, redriveMany{}); ok {
		filter := models.DeadLetterFilter{Group: in.Body.Group.Value, Topic: in.Body.Topic.Value, Reason: in.Body.Reason.Value}
		n, err := h.letters.RedriveAll(c.Request.Context(), filter, in.Body.DryRun.Value)
		respond(c, http.StatusAccepted, Redriven{n}, err)
	}
}

// Discard handles DELETE /v1/admin/dead-letters/{id}.
//
//	@Summary		Discard a dead letter
//	@Description	Deletes the message for good. The audit keeps what it was, with email addresses and payment tokens masked.
//	@Tags			queues
//	@ID				discardDeadLetter
//	@Produce		json
//	@Param			id	path	string	true	"Dead letter id"	example(4711)
//	@Success		204
//	@Failure		404	{object}	middleware.Problem
//	@Router			/v1/admin/dead-letters/{id} [delete]
func (h *DeadLetters) Discard(c *gin.Context) {
	if in, ok := bindFor(c, byID{}); ok {
		respondEmpty(c, h.letters.Discard(c.Request.Context(), in.ID))
	}
}
