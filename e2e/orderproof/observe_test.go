package orderproof

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// liveJobs counts the messages that wait or are being delivered.
const liveJobs = `SELECT count(*) FROM river_job WHERE kind = 'delivery' AND state <> 'completed'`

// settle waits until no message waits or is being delivered. If hurry is set, it lets
// the time pass that messages wait.
func (s *shop) settle(hurry bool) {
	s.Helper()
	s.await("the end of all deliveries", 15*time.Minute, func() bool {
		if hurry {
			s.hurry()
		}
		return s.count(liveJobs) == 0
	})
}

// hurry makes waiting messages available.
func (s *shop) hurry() {
	s.exec(`UPDATE river_job SET state = 'available', scheduled_at = now()
		WHERE kind = 'delivery' AND (state IN ('retryable', 'scheduled') OR state = 'available' AND scheduled_at > now())`)
}

// rescue restarts the servers in order, and makes River take the deliveries of those
// that were killed for dead at once instead of after half a minute.
func (s *shop) rescue() {
	s.Helper()
	s.stopServers()
	s.exec(`UPDATE river_job SET attempted_at = attempted_at - interval '1 hour' WHERE state = 'running'`)
	s.exec(`DELETE FROM river_leader`)
	s.startServers()
}

// openOrders are the orders that a message or a dead letter is about.
const openOrders = `
	SELECT args ->> 'key' FROM river_job WHERE kind = 'delivery' AND state <> 'completed'
	UNION SELECT message ->> 'key' FROM dead_letters`

// observe returns what is known of all orders. No message is being delivered.
func (s *shop) observe(acks []*acknowledged, initial map[string]int64) *observed {
	s.Helper()
	o := &observed{Orders: map[string]*stored{}, Mails: map[string]map[string]int{}, Initial: initial, Stock: map[string]int64{}}
	for _, a := range acks {
		o.Acknowledged = append(o.Acknowledged, *a)
	}
	s.observeOrders(o)
	for _, id := range query(s, pgx.RowTo[string], openOrders) {
		if o.Orders[id] != nil {
			o.Orders[id].Open = true
		}
	}
	type product struct {
		ID    string
		Stock int64
	}
	for _, p := range query(s, pgx.RowToStructByPos[product], `SELECT id, stock FROM products`) {
		o.Stock[p.ID] = p.Stock
	}
	var ledger struct{ Data []entry }
	s.callURL(s.ops[gateway]+"/dev/gateway/ledger", http.MethodGet, nil, http.StatusOK, &ledger)
	o.Ledger = ledger.Data
	for _, m := range s.mails() {
		id := orderID.FindString(m.MessageID)
		if o.Mails[id] == nil {
			o.Mails[id] = map[string]int{}
		}
		o.Mails[id][m.MessageID]++
	}
	return o
}

var orderID = regexp.MustCompile(`ord_[a-z0-9]+`)

func (s *shop) observeOrders(o *observed) {
	s.Helper()
	type row struct {
		ID       string
		Progress models.Progress
		Total    models.Money
		Products []string
		Units    []int64
	}
	for _, r := range query(s, func(rows pgx.CollectableRow) (r row, err error) {
		p := &r.Progress
		return r, rows.Scan(&r.ID, &p.Status, &p.Reason, &p.Stock, &p.Payment, &r.Total.Amount, &r.Total.Currency, &r.Products, &r.Units)
	}, `SELECT id, status, COALESCE(reason, ''), stock, payment, total_amount, total_currency, i.products, i.units
		FROM orders o CROSS JOIN LATERAL (
			SELECT array_agg(product_id ORDER BY position) AS products, array_agg(quantity ORDER BY position) AS units
			FROM order_items WHERE order_id = o.id) i`) {
		order := &stored{Progress: r.Progress, Total: r.Total}
		for i := range r.Products {
			order.Items = append(order.Items, models.NewItem{ProductID: r.Products[i], Quantity: r.Units[i]})
		}
		o.Orders[r.ID] = order
	}
	for _, e := range query(s, func(rows pgx.CollectableRow) (e models.Event, err error) {
		return e, rows.Scan(&e.OrderID, &e.Seq, &e.Type, &e.At)
	}, `SELECT order_id, seq, type, at FROM order_events ORDER BY order_id, seq`) {
		if order := o.Orders[e.OrderID]; order != nil { // one placed a moment ago
			order.Events = append(order.Events, e)
		}
	}
}

// summary counts the faults by what they are.
func summary(list []fault) string {
	count := map[string]int{}
	for _, f := range list {
		count[f.What]++
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%d %s", count[what], what))
	}
	return strings.Join(parts, ", ")
}

// report fails the test for these faults, with what is known of the first of each
// kind.
func (s *shop) report(o *observed, list []fault) {
	s.Helper()
	if len(list) == 0 {
		return
	}
	s.Errorf("%s", summary(list))
	shown := map[string]bool{}
	for _, f := range list {
		if shown[f.What] {
			continue
		}
		shown[f.What] = true
		s.Logf("%s", f)
		if order := o.Orders[f.Order]; order != nil {
			s.Logf("%s", s.history(f.Order, o, order))
		}
	}
}

// history returns what is known of an order.
func (s *shop) history(id string, o *observed, order *stored) string {
	var b strings.Builder
	for _, a := range o.Acknowledged {
		if a.ID == id {
			fmt.Fprintf(&b, "    %s, cancellation answered with %d (0: none asked for)\n", a.Token, a.Cancelled)
		}
	}
	fmt.Fprintf(&b, "    %+v, emails %v\n", order.Progress, o.Mails[id])
	for _, e := range order.Events {
		fmt.Fprintf(&b, "    %s event %d %s\n", e.At.UTC().Format(time.StampMicro), e.Seq, e.Type)
	}
	for _, e := range o.Ledger {
		if e.OrderID == id {
			fmt.Fprintf(&b, "    %s ledger %s %s\n", e.At.UTC().Format(time.StampMicro), e.Kind, e.ID)
		}
	}
	for _, text := range query(s, pgx.RowTo[string], `
		SELECT 'job ' || queue || ' ' || state || ' ' || args::text FROM river_job WHERE args ->> 'key' = $1
		UNION ALL SELECT 'dead letter ' || "group" || ' ' || reason || ' ' || message::text FROM dead_letters WHERE message ->> 'key' = $1`, id) {
		fmt.Fprintf(&b, "    %s\n", text)
	}
	for _, name := range processes {
		log, err := os.ReadFile(s.logFile(name))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, id) {
				fmt.Fprintf(&b, "    %s: %s", name, line)
			}
		}
	}
	return b.String()
}
