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

	"ratelimiter/docs"
	"ratelimiter/internal/testkit"
)

const sampleKey = "rl_live_sample"

// newSampleServer serves the docs pages and one operation of the API.
func newSampleServer(t *testing.T) *httptest.Server {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/docs", docs.Page)
	router.GET("/swagger/*any", docs.SwaggerUI)
	router.GET("/redoc", docs.Reference)
	router.GET("/redoc/*any", docs.ReDoc)
	router.GET("/openapi.json", docs.Spec)
	router.GET("/v1/products", listSampleProducts(20))
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server
}

// listSampleProducts takes the key in one of the two headers, as the real API does, and counts down from units.
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

func TestRunAnOperationInABrowser(t *testing.T) {
	for _, field := range []string{testkit.BearerAuth, testkit.APIKeyAuth} {
		t.Run(field, func(t *testing.T) {
			server := newSampleServer(t)
			browser := testkit.NewBrowser(t)
			browser.OpenDocs(server.URL)
			browser.Authorize(field, sampleKey)
			answer := browser.TryOperation("listProducts")
			browser.Screenshot("docs-" + strings.TrimPrefix(field, "#"))

			if answer.Status != "200" {
				t.Errorf("status is %q, want 200; body: %s", answer.Status, answer.Body)
			}
			for _, header := range []string{
				`ratelimit: "burst";r=19;t=1`, `ratelimit-policy: "burst";q=20;w=2`, "x-request-id: req_sample",
			} {
				if !strings.Contains(answer.Headers, header) {
					t.Errorf("the response headers lack %q:\n%s", header, answer.Headers)
				}
			}
			if !strings.Contains(answer.Body, "Blue mug") {
				t.Errorf("the body is not shown: %s", answer.Body)
			}
			if again := browser.TryOperation("listProducts"); !strings.Contains(again.Headers, `ratelimit: "burst";r=18;t=1`) {
				t.Errorf("the second answer's headers are\n%s\nwant one unit less", again.Headers)
			}
			checkClean(t, browser, server)
		})
	}
}

func TestKeepTheKeyAndSendItOnce(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	browser.OpenDocs(server.URL)
	browser.Authorize(testkit.BearerAuth, sampleKey)
	browser.Authorize(testkit.APIKeyAuth, sampleKey) // the API refuses a request with both
	browser.OpenDocs(server.URL)                     // the keys outlive the page
	if answer := browser.TryOperation("listProducts"); answer.Status != "200" {
		t.Errorf("status is %q, want 200; body: %s", answer.Status, answer.Body)
	}
	checkClean(t, browser, server)
}

func TestFollowTheBrowsersColours(t *testing.T) {
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

func TestTheReferenceShowsEveryOperationInBothColours(t *testing.T) {
	server := newSampleServer(t)
	browser := testkit.NewBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		browser.PreferColours(scheme)
		browser.OpenReference(server.URL)
		for _, id := range []string{"listProducts", "createOrder", "getProduct", "patchKey", "livez"} {
			if !browser.ReferenceShows(id) {
				t.Errorf("/redoc in %s colours doesn't show %s", scheme, id)
			}
		}
		browser.Do(chromedp.Click(chromedp.CSS("#redoc button:has(.http-verb)"), chromedp.NodeVisible)) // opens the box with the server
		browser.Screenshot("redoc-" + scheme)
		checkReadable(t, browser)
	}
	checkClean(t, browser, server)
}

// legible is the contrast that WCAG 2.1 asks of large text, and of what only marks something.
const legible = 3

// checkReadable fails the test when the page shows texts that can hardly be seen.
func checkReadable(t *testing.T, browser *testkit.Browser) {
	t.Helper()
	for _, text := range browser.FaintTexts(legible) {
		t.Errorf("too faint: %s", text)
	}
}

// checkClean fails the test when the page broke its Content-Security-Policy or asked another server for anything.
func checkClean(t *testing.T, browser *testkit.Browser, server *httptest.Server) {
	t.Helper()
	if faults := browser.Faults(); len(faults) > 0 {
		t.Errorf("the browser complained:\n%s", strings.Join(faults, "\n"))
	}
	if hosts := browser.Hosts(); !slices.Equal(hosts, []string{strings.TrimPrefix(server.URL, "http://")}) {
		t.Errorf("the page asked other hosts: %q", hosts)
	}
}
