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
//	@Summary		List the audit
//	@Description	Who changed which key or plan, when, from where, and what was there before and after; newest first.
//	@Tags			audit
//	@ID				listAudit
//	@Produce		json
//	@Param			filter	query	auditFilter	false	"Which entries"
//	@Param			page	query	page	false	"Which page"
//	@Success		200		{object}	List[models.AuditEntry]
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/audit [get]
func (h *Audit) List(c *gin.Context) {
	if in, ok := bind(c, listAudit{Page: h.cursors.page("audit")}); ok {
		entries, err := h.audit.List(c.Request.Context(), in.filter(), in.Page.after, in.Page.Limit)
		respondPage(c, in.Page, entries, err)
	}
}

// listAudit is what GET /v1/admin/audit takes.
type listAudit struct {
	Filter auditFilter
	Page   page
}

// auditFilter says which entries are asked for.
type auditFilter struct {
	Actor  string        `form:"actor" maxLength:"200" example:"3mBz8VqKt1Wd"`                                // Only what this key did, by its id; cli for the command line
	Action string        `form:"action" maxLength:"200" example:"key.revoke"`                                 // Only this action, such as key.revoke
	Target string        `form:"target" maxLength:"200" example:"9Kx2mV4tQaLp"`                               // Only changes of this key, by its id, or of this plan
	From   *binding.Time `form:"from" swaggertype:"string" format:"date-time" example:"2026-01-15T09:30:00Z"` // Not before this time
	To     *binding.Time `form:"to" swaggertype:"string" format:"date-time" example:"2026-01-15T09:30:00Z"`   // Before this time
}

func (l *listAudit) filter() models.AuditFilter {
	f := l.Filter
	return models.AuditFilter{Actor: f.Actor, Action: f.Action, Target: f.Target, From: f.From.Std(), To: f.To.Std()}
}
