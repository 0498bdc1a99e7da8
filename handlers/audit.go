package handlers

import (
	"context"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// AuditReader reads the audit.
type AuditReader interface {
	// List returns up to limit entries that filter lets through, newest first,
	// behind after (nil: from the start).
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

// List answers GET /v1/admin/audit.
//
//	@Summary		List the audit
//	@Description	Who changed which key or plan, when, from where, and what was there before and after; newest first. Needs the scope admin:audit.
//	@Tags			audit
//	@ID				listAudit
//	@Produce		json
//	@Param			actor	query		string	false	"Only what this key did, by its id; cli for the command line"	maxlength(200)
//	@Param			action	query		string	false	"Only this action, such as key.revoke"							maxlength(200)
//	@Param			target	query		string	false	"Only changes of this key, by its id, or of this plan"			maxlength(200)
//	@Param			from	query		string	false	"Not before this time"											format(date-time)
//	@Param			to		query		string	false	"Before this time"												format(date-time)
//	@Param			limit	query		int		false	"Most items on the page"										minimum(1)	maximum(100)	default(20)
//	@Param			cursor	query		string	false	"Where the page starts: next_cursor of the page before"
//	@Success		200		{object}	List[models.AuditEntry]
//	@Failure		400		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/audit [get]
func (h *Audit) List(c *gin.Context) {
	var filter models.AuditFilter
	after, limit, err := readPage(c, h.cursors, "audit", func(p *params) {
		filter.Actor, filter.Action, filter.Target = p.text("actor"), p.text("action"), p.text("target")
		filter.From, filter.To = p.time("from"), p.time("to")
	})
	if err != nil {
		fail(c, err)
		return
	}
	page, err := h.audit.List(c.Request.Context(), filter, after, limit)
	if err != nil {
		fail(c, err)
		return
	}
	writePage(c, h.cursors, "audit", page)
}
