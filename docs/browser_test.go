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
	}
	checkClean(t, browser, server)
}

// minContrast is the contrast that WCAG 2.1 requires of large text and graphical objects.
const minContrast = 3

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
