package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// demoPage is /demo/orders in a browser.
type demoPage struct {
	*testkit.Browser
	t *testing.T
}

func openDemo(t *testing.T, base string) *demoPage {
	t.Helper()
	d := &demoPage{testkit.NewBrowser(t), t}
	d.Do(chromedp.Navigate(base+"/demo/orders"), chromedp.WaitVisible(chromedp.CSS("#costs tr")))
	return d
}

// place places an order by keyboard, and waits until the page says that following it
// has ended. It returns the types of the events that the page shows.
func (d *demoPage) place(key, end string) []string {
	d.t.Helper()
	d.Do(
		chromedp.Evaluate[chromedp.Void](`document.querySelector("#key").value = ""; undefined`),
		chromedp.SendKeys(chromedp.CSS("#key"), key+"\r", chromedp.NodeVisible),
		chromedp.Poll[chromedp.Void](fmt.Sprintf(`document.querySelector("#stop").disabled && document.querySelector("#status").textContent.includes(%q)`, end)),
	)
	return strings.Fields(d.Evaluate(`[...document.querySelectorAll("#events code")].map(c => c.textContent).join(" ")`))
}

// counts returns what the page counted for a way: events, requests, bytes and the
// median latency.
func (d *demoPage) counts(way string) (counts [4]int) {
	d.t.Helper()
	text := d.Evaluate(fmt.Sprintf(`[...document.querySelectorAll("#costs tr[data-way=%s] td")].map(c => parseInt(c.textContent)).join(" ")`, way))
	if _, err := fmt.Sscan(text, &counts[0], &counts[1], &counts[2], &counts[3]); err != nil {
		d.t.Errorf("%s: got %q; want four numbers", way, text)
	}
	return counts
}

// The page shows the events of an order in every way.
func TestDemo_ways(t *testing.T) {
	shop := newOrderShop(t)
	key := shop.key(models.NewKey{Plan: "internal", Owner: "demo"})
	page := openDemo(t, shop.Base())
	for _, way := range []string{"stream", "socket", "poll", "longPoll"} { // as the right arrow key selects them
		if got := page.Evaluate(`document.querySelector("input[name=way]:checked").value`); got != way {
			t.Errorf("%s is selected; want %s", got, way)
		}
		got := page.place(key, "The order is done.")
		var list struct {
			Data       []models.Order
			NextCursor *string `json:"next_cursor"`
		}
		shop.As(key).Get("/v1/orders?limit=1").JSON(&list)
		if want := shop.events(list.Data[0].ID); !slices.Equal(got, want) {
			t.Errorf("%s: got events %v; want %v", way, got, want)
		}
		counts := page.counts(way)
		if counts[0] != len(got) || counts[2] < 100*len(got) {
			t.Errorf("%s: counted %d events in %d bytes; want %d", way, counts[0], counts[2], len(got))
		}
		if want := map[string]int{"stream": 1, "socket": 2}[way]; want > 0 && counts[1] != want || counts[1] == 0 {
			t.Errorf("%s: counted %d requests; want %d", way, counts[1], want)
		}
		t.Logf("%s: %d events, %d requests, %d bytes, median latency %d ms", way, counts[0], counts[1], counts[2], counts[3])
		page.Do(chromedp.SendKeys(chromedp.CSS("input[name=way]:checked"), kb.ArrowRight, chromedp.NodeVisible))
	}
	page.Screenshot("demo-ways")
	if faults := page.Faults(); len(faults) > 0 {
		t.Errorf("errors of the page: %v", faults)
	}
	if hosts := page.Hosts(); len(hosts) != 1 {
		t.Errorf("the page contacted hosts %v; want only its own", hosts)
	}
}

// The page says why it can't go on, and keeps the key out of addresses.
func TestDemo_refusals(t *testing.T) {
	shop := newOrderShop(t)
	page := openDemo(t, shop.Base())
	page.place("rl_live_unknown", "401: ")
	page.place(shop.key(models.NewKey{Plan: "internal", Scopes: []models.Scope{models.ScopeProductsRead}}), "403: ")
	key := shop.key(models.NewKey{Plan: "internal", Scopes: []models.Scope{models.ScopeProductsRead, models.ScopeOrdersWrite}})
	page.place(key, "orders:read")
	if got := page.Evaluate("location.href"); got != shop.Base()+"/demo/orders" {
		t.Errorf("got address %s", got)
	}
	if strings.Contains(shop.log.String(), key) {
		t.Error("the key is in the log")
	}
}
