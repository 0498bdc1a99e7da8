package docs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/gin-gonic/gin"

	"ratelimiter/internal/testkit"
)

const sampleKey = "rl_live_sample"

// newSampleServer serves the pages and one operation of the API.
func newSampleServer(t *testing.T) *httptest.Server {
	t.Helper()
	router := newRouter()
	router.GET("/v1/products", listSampleProducts(20))
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server
}

// listSampleProducts requires the key in exactly one of the two headers. Each call spends one of units.
func listSampleProducts(units int) gin.HandlerFunc {
	return func(c *gin.Context) {
		bearer, header := c.GetHeader("Authorization"), c.GetHeader("X-API-Key")
		if (bearer == "Bearer "+sampleKey) == (header == sampleKey) {
			c.JSON(http.StatusUnauthorized, gin.H{"title": "Unauthorized", "status": 401})
			return
		}
		units--
		c.Header("RateLimit-Policy", `"burst";q=20;w=2`)
		c.Header("RateLimit", fmt.Sprintf(`"burst";r=%d;t=1`, units))
		c.Header("X-Request-Id", "req_sample")
		c.JSON(http.StatusOK, gin.H{"data": []gin.H{{"name": "Blue mug"}}, "next_cursor": nil})
	}
}

func TestSwaggerUI_execute(t *testing.T) {
	for _, field := range []string{testkit.BearerAuth, testkit.APIKeyAuth} {
		t.Run(field, func(t *testing.T) {
			server := newSampleServer(t)
			browser := testkit.NewBrowser(t)
			browser.OpenDocs(server.URL)
			browser.Authorize(field, sampleKey)
			response := browser.TryOperation("listProducts")
			browser.Screenshot("docs-" + strings.TrimPrefix(field, "#"))

			if response.Status != "200" {
				t.Errorf("got status %q; want 200; body %s", response.Status, response.Body)
			}
			for _, header := range []string{
				`ratelimit: "burst";r=19;t=1`, `ratelimit-policy: "burst";q=20;w=2`, "x-request-id: req_sample",
			} {
				if !strings.Contains(response.Headers, header) {
					t.Errorf("header %q is missing in\n%s", header, response.Headers)
				}
			}
			if !strings.Contains(response.Body, "Blue mug") {
				t.Errorf("the products are missing in the body %s", response.Body)
			}
			if again := browser.TryOperation("listProducts"); !strings.Contains(again.Headers, `ratelimit: "burst";r=18;t=1`) {
				t.Errorf("second call: got headers\n%s\nwant one unit less", again.Headers)
			}
			checkClean(t, browser, server)
		})
	}
}

func TestSwaggerUI_sends_one_persistent_key(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	browser.OpenDocs(server.URL)
	browser.Authorize(testkit.BearerAuth, sampleKey)
	browser.Authorize(testkit.APIKeyAuth, sampleKey) // the API rejects requests with both
	browser.OpenDocs(server.URL)                     // the keys survive a reload
	if response := browser.TryOperation("listProducts"); response.Status != "200" {
		t.Errorf("got status %q; want 200; body %s", response.Status, response.Body)
	}
	checkClean(t, browser, server)
}

func TestSwaggerUI_colour_scheme(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	browser.OpenDocs(server.URL)
	checkReadable(t, browser)
	checkStructure(t, browser)
	const isDark = `document.documentElement.classList.contains("dark-mode")`
	browser.Do(chromedp.Poll[chromedp.Void]("!" + isDark))
	browser.PreferColours("dark")
	browser.Do(
		chromedp.Poll[chromedp.Void](isDark),
		chromedp.Click(chromedp.CSS("[id$='-createOrder'] .opblock-summary-control"), chromedp.NodeVisible),
		chromedp.WaitVisible(chromedp.CSS("textarea.body-param__text")),
		chromedp.Click(chromedp.CSS("section.models .models-control"), chromedp.NodeVisible),
		chromedp.WaitVisible(chromedp.CSS("[id='components-schemas-Product'], [data-name='Product'], .json-schema-2020-12__title")),
	)
	browser.Screenshot("docs-dark")
	checkReadable(t, browser)
	checkClean(t, browser, server)
}

// The first operation is on the first screen of a phone, and nothing is wider than the screen.
func TestSwaggerUI_phone(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	browser.Resize(390)
	browser.OpenDocs(server.URL)
	if top := browser.Evaluate(`String(document.querySelector(".opblock").getBoundingClientRect().top < 700)`); top != "true" {
		t.Error("the first operation is more than 700 px down")
	}
	browser.Do(
		chromedp.Click(chromedp.CSS("[id$='-createOrder'] .opblock-summary-control"), chromedp.NodeVisible),
		chromedp.WaitVisible(chromedp.CSS("textarea.body-param__text")),
	)
	checkStructure(t, browser)
}

func TestGuide_colour_schemes_and_widths(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	for _, width := range []int64{390, 1280} {
		browser.Resize(width)
		for _, scheme := range []string{"light", "dark"} {
			browser.PreferColours(scheme)
			for _, path := range []string{"/guide/", "/guide/limits", "/guide/security", "/guide/search?q=burst", "/guide/adr/"} {
				browser.Do(chromedp.Navigate(server.URL+path), chromedp.WaitVisible(chromedp.CSS("h1")))
				browser.Screenshot(fmt.Sprintf("guide-%s-%d-%s", scheme, width, strings.NewReplacer("/", "-", "?", "-").Replace(path)))
				checkReadable(t, browser)
				checkStructure(t, browser)
			}
		}
	}
	checkClean(t, browser, server)
}

func TestDemo_colour_schemes_and_widths(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	for _, width := range []int64{320, 1280} {
		browser.Resize(width)
		for _, scheme := range []string{"light", "dark"} {
			browser.PreferColours(scheme)
			browser.Do(chromedp.Navigate(server.URL+"/demo/orders"), chromedp.WaitVisible(chromedp.CSS("#costs tr[data-way=socket]")))
			browser.Screenshot(fmt.Sprintf("demo-%s-%d", scheme, width))
			checkReadable(t, browser)
			checkStructure(t, browser)
		}
	}
	checkClean(t, browser, server)
}

// The search works by keyboard, and the button copies its code.
func TestGuide_search_and_copy(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	browser.Do(
		chromedp.Navigate(server.URL+"/guide/limits"),
		chromedp.WaitVisible(chromedp.CSS("pre")),
		chromedp.Evaluate[chromedp.Void](`navigator.clipboard.writeText = async text => { window.copied = text; }; undefined`),
		chromedp.Click(chromedp.CSS("button.copy"), chromedp.NodeVisible),
		chromedp.Poll[chromedp.Void](`document.querySelector("button.copy").textContent === "Copied"`),
	)
	commands := `KEY=$(sed 's/.*"demo":"\([^"]*\)".*/\1/' .data/dev-keys.json)` + "\n" + `curl -si -H "Authorization: Bearer $KEY" localhost:8080/v1/products`
	if copied := browser.Evaluate("window.copied"); copied != commands {
		t.Errorf("copied %q, want the commands %q", copied, commands)
	}
	browser.Do(chromedp.Navigate(server.URL+"/guide/algorithms"), chromedp.WaitVisible(chromedp.CSS("button.copy")))
	browser.Do(
		chromedp.Evaluate[chromedp.Void](`navigator.clipboard.writeText = async text => { window.copied = text; }; undefined`),
		chromedp.Click(chromedp.CSS("button.copy"), chromedp.NodeVisible),
		chromedp.Poll[chromedp.Void](`document.querySelector("button.copy").textContent === "Copied"`),
	)
	if copied, want := browser.Evaluate("window.copied"), browser.Evaluate(`document.querySelector("main pre").textContent`); copied != want {
		t.Errorf("copied %q, want %q", copied, want)
	}
	browser.Do(
		chromedp.SendKeys(chromedp.CSS("input[type=search]"), "glossary\r", chromedp.NodeVisible),
		chromedp.WaitVisible(chromedp.CSS(".results mark")),
	)
	checkClean(t, browser, server)
}

// faultsOfStructure lists what assistive technologies stumble over: headings that skip a level, links and buttons in
// buttons, inputs without a name, and a page that is wider than its window.
const faultsOfStructure = `(() => {
  const faults = [];
  let level = 1;
  for (const h of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (!h.checkVisibility()) continue;
    const own = Number(h.getAttribute("aria-level") || h.tagName[1]);
    if (own > level + 1) faults.push("level " + own + " after " + level + ": " + h.textContent.slice(0, 40));
    level = own;
  }
  for (const e of document.querySelectorAll("button a[href], button button, a[href] button")) faults.push("control in a control: " + e.outerHTML.slice(0, 80));
  for (const e of document.querySelectorAll("input, textarea, select")) {
    if (e.checkVisibility() && !e.labels.length && !e.ariaLabel && !e.title && !e.placeholder) faults.push("no name: " + e.outerHTML.slice(0, 80));
  }
  const wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wider > 0) faults.push("wider than the window by " + wider + " px");
  return faults.join("\n");
})()`

// checkStructure fails the test if the page has faultsOfStructure.
func checkStructure(t *testing.T, browser *testkit.Browser) {
	t.Helper()
	if faults := browser.Evaluate(faultsOfStructure); faults != "" {
		t.Errorf("%s:\n%s", browser.Evaluate("location.pathname"), faults)
	}
}

func TestReDoc_operations_and_colour_schemes(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		browser.PreferColours(scheme)
		browser.OpenReference(server.URL)
		for _, id := range []string{"listProducts", "createOrder", "getProduct", "updateKey", "livez"} {
			if !browser.ReferenceShows(id) {
				t.Errorf("/redoc doesn't show %[2]s in %[1]s colours", scheme, id)
			}
		}
		browser.Do(chromedp.Click(chromedp.CSS("#redoc button:has(.http-verb)"), chromedp.NodeVisible)) // expands the list of servers
		browser.Screenshot("redoc-" + scheme)
		checkReadable(t, browser)
		checkStructure(t, browser)
	}
	checkClean(t, browser, server)
}

// minContrast is the contrast that WCAG 2.1 requires of text.
const minContrast = 4.5

// checkReadable fails the test if the page shows texts with less than minContrast.
func checkReadable(t *testing.T, browser *testkit.Browser) {
	t.Helper()
	for _, text := range browser.FaintTexts(minContrast) {
		t.Errorf("contrast is below %v: %s", minContrast, text)
	}
}

// checkClean fails the test if the page reported an error, violated its Content-Security-Policy or contacted another host.
func checkClean(t *testing.T, browser *testkit.Browser, server *httptest.Server) {
	t.Helper()
	if faults := browser.Faults(); len(faults) > 0 {
		t.Errorf("the browser reported:\n%s", strings.Join(faults, "\n"))
	}
	if hosts := browser.Hosts(); !slices.Equal(hosts, []string{strings.TrimPrefix(server.URL, "http://")}) {
		t.Errorf("the page contacted hosts %q; want only its own", hosts)
	}
}
