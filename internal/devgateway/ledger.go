package devgateway

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/binding"
	"ratelimiter/internal/postgres"
)

// The kinds of lines of the ledger.
const (
	kindAuthorization = "authorization"
	kindCapture       = "capture"
	kindVoid          = "void"
)

// line is a line of the ledger.
type line struct {
	ID       string    `json:"id"`
	OrderID  string    `json:"order_id"`
	Kind     string    `json:"kind"`
	Amount   int64     `json:"amount"` // minor units
	Currency string    `json:"currency"`
	At       time.Time `json:"at"`
}

// record adds a line to the ledger.
func record(batch *pgx.Batch, id, kind string, a Authorization) {
	batch.Queue(`INSERT INTO dev_gateway.ledger (id, order_id, kind, amount, currency) VALUES ($1, $2, $3, $4, $5)`, id, a.OrderID, kind, a.Amount, a.Currency)
}

// change stores the status of an authorization, and adds a line to the ledger.
func change(batch *pgx.Batch, id, kind string, a Authorization) {
	batch.Queue(`UPDATE dev_gateway.authorizations SET status = $2 WHERE id = $1`, a.ID, a.Status)
	record(batch, id, kind, a)
}

// ledger handles GET /ledger: all lines, in the order in which they were written. The
// response is streamed; if it can't be completed, it isn't valid JSON.
func (g *Gateway) ledger(c *gin.Context) {
	if _, err := binding.Bind(c, struct{}{}, binding.JSON); err != nil {
		fail(c, err)
		return
	}
	rows, err := g.db.Query(c.Request.Context(), `SELECT id, order_id, kind, amount, currency, at FROM dev_gateway.ledger ORDER BY position`)
	if err != nil {
		fail(c, postgres.Classify("dev gateway", err))
		return
	}
	defer rows.Close()
	c.Header("Content-Type", binding.JSON)
	out := bufio.NewWriter(c.Writer)
	defer func() { _ = out.Flush() }() // the client has gone
	_, _ = out.WriteString(`{"data":[`)
	for n := 0; rows.Next(); n++ {
		l, err := pgx.RowToStructByPos[line](rows)
		if err != nil {
			return
		}
		if n > 0 {
			_ = out.WriteByte(',')
		}
		encoded, err := json.Marshal(l)
		if err != nil {
			return
		}
		if _, err := out.Write(encoded); err != nil {
			return
		}
	}
	if rows.Err() == nil {
		_, _ = out.WriteString(`]}`)
	}
}

// recover handles POST /recover: tok_down works for every order placed so far, also
// for those whose payment waits and that the gateway hasn't seen.
func (g *Gateway) recover(c *gin.Context) {
	_, err := binding.Bind(c, struct{}{}, binding.JSON)
	if err != nil {
		fail(c, err)
		return
	}
	tag, err := g.db.Exec(c.Request.Context(), `
		INSERT INTO dev_gateway.orders AS o (id, recovered)
		SELECT id, true FROM orders WHERE status = 'pending' UNION SELECT id, true FROM dev_gateway.orders
		ON CONFLICT (id) DO UPDATE SET recovered = true WHERE NOT o.recovered`)
	respond(c, http.StatusOK, gin.H{"recovered": tag.RowsAffected()}, postgres.Classify("dev gateway", err))
}
