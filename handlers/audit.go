package handlers

import (
	"context"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// AuditReader reads the audit.
type AuditReader interface {
	// List returns up to limit entries that match filter, newest first, starting
	// after the position after (nil: the start).
	List(ctx context.Context, filter models.AuditFilter, after *models.Position, limit int) (models.Page[models.AuditEntry], error)
}

// Audit serves /v1/admin/audit.
type Audit struct {
	audit   AuditReader
	cursors *Cursors
}

// NewAudit returns the handlers of /v1/admin/audit.
func NewAudit(audit AuditReader, cursors *Cursors) *Audit {
	return &Audit{audit: audit, cursors: cursors}
}

// List handles GET /v1/admin/audit.
//
//	@Summary		List audit entries
//	@Description	Changes of keys, plans, queues and the enforcement mode, newest first: the actor, the time, the address, and the state before and after the change.
//	@Tags			audit
//	@ID				listAudit
//	@Produce		json
//	@Param			filter	query	auditFilter	false	"Filter"
//	@Param			page	query	page	false	"Page"
//	@Success		200		{object}	List[models.AuditEntry]
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/admin/audit [get]
func (h *Audit) List(c *gin.Context) {
	if in, ok := bind(c, listAudit{Page: h.cursors.page("audit")}); ok {
		entries, err := h.audit.List(c.Request.Context(), in.filter(), in.Page.after, in.Page.Limit)
		respondPage(c, in.Page, entries, err)
	}
}

// listAudit is the input of GET /v1/admin/audit.
type listAudit struct {
	Filter auditFilter
	Page   page
}

// auditFilter selects audit entries.
type auditFilter struct {
	Actor  string        `form:"actor" maxLength:"200" example:"3mBz8VqKt1Wd"`                                // Only changes by the key with this id; cli selects the command line
	Action string        `form:"action" maxLength:"200" example:"key.revoke"`                                 // Only this action, such as key.revoke
	Target string        `form:"target" maxLength:"200" example:"9Kx2mV4tQaLp"`                               // Only changes of the key or dead letter with this id, or of this plan or queue
	From   *binding.Time `form:"from" swaggertype:"string" format:"date-time" example:"2026-01-15T09:30:00Z"` // Only changes at or after this time
	To     *binding.Time `form:"to" swaggertype:"string" format:"date-time" example:"2026-01-15T09:30:00Z"`   // Only changes before this time
}

func (l *listAudit) filter() models.AuditFilter {
	f := l.Filter
	return models.AuditFilter{Actor: f.Actor, Action: f.Action, Target: f.Target, From: f.From.Std(), To: f.To.Std()}
}
