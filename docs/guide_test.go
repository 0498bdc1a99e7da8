package docs_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// guidePage is a page of the guide as a browser reads it.
type guidePage struct {
	ids, links, images []string
	title              string
	elements           map[string]int // number by name
}

// readGuide returns the page at a path, which must exist.
func readGuide(t *testing.T, router http.Handler, path string) guidePage {
	t.Helper()
	response := get(router, path)
	if response.Code != http.StatusOK {
		t.Errorf("%s: got status %d", path, response.Code)
	}
	root, err := html.Parse(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	page := guidePage{elements: map[string]int{}}
	for node := range root.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		page.elements[node.Data]++
		if node.Data == "title" {
			page.title = node.FirstChild.Data
		}
		for _, a := range node.Attr {
			switch {
			case a.Key == "id":
				page.ids = append(page.ids, a.Val)
			case a.Key == "href" && node.Data == "a":
				page.links = append(page.links, a.Val)
			case a.Key == "src" && node.Data == "img":
				page.images = append(page.images, a.Val)
			}
		}
	}
	return page
}

// crawlGuide returns the pages that can be reached from the first one.
func crawlGuide(t *testing.T, router http.Handler) map[string]guidePage {
	t.Helper()
	pages := map[string]guidePage{}
	for waiting := []string{"/guide/"}; len(waiting) > 0; waiting = waiting[1:] {
		at := waiting[0]
		if _, seen := pages[at]; seen {
			continue
		}
		page := readGuide(t, router, at)
		pages[at] = page
		for _, link := range page.links {
			if to, _, _ := strings.Cut(link, "#"); strings.HasPrefix(to, "/guide/") && filepath.Ext(to) == "" {
				waiting = append(waiting, to)
			}
		}
	}
	return pages
}

// Every Markdown file is a page that links lead to, and every link and anchor leads somewhere.
func TestGuide_links(t *testing.T) {
	router := newRouter()
	pages := crawlGuide(t, router)
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, _ fs.DirEntry, err error) error {
		if filepath.Ext(name) == ".md" && !regexp.MustCompile(`^(redoc|swagger-ui)/`).MatchString(name) {
			files++
			at := "/guide/" + strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "guide/"), ".md"), "README")
			if _, ok := pages[at]; !ok {
				t.Errorf("no link leads to %s, the page of docs/%s", at, name)
			}
		}
		return err
	})
	if err != nil || files < 30 || files != len(pages) {
		t.Errorf("got %d pages of %d files, error %v", len(pages), files, err)
	}
	for at, page := range pages {
		for _, link := range page.links {
			checkLink(t, router, pages, at, link)
		}
		for _, image := range page.images {
			response := get(router, image)
			if response.Code != http.StatusOK || response.Header().Get("Content-Type") != "image/svg+xml" {
				t.Errorf("%s: image %s: status %d, %s", at, image, response.Code, response.Header().Get("Content-Type"))
			}
		}
	}
}

// checkLink fails the test if a link of the page at a path leads nowhere.
func checkLink(t *testing.T, router http.Handler, pages map[string]guidePage, at, link string) {
	t.Helper()
	u, err := url.Parse(link)
	switch {
	case err != nil || u.Host != "" && u.Scheme != "https" && u.Scheme != "http":
		t.Errorf("%s: link %q, error %v", at, link, err)
	case u.Host != "":
	case u.Path == "" || pages[u.Path].ids != nil:
		to := at
		if u.Path != "" {
			to = u.Path
		}
		if u.Fragment != "" && !slices.Contains(pages[to].ids, u.Fragment) {
			t.Errorf("%s: link %q: %s has no such anchor", at, link, to)
		}
	default:
		if response := get(router, u.Path); response.Code != http.StatusOK {
			t.Errorf("%s: link %q: status %d", at, link, response.Code)
		}
	}
}

func TestGuide_pages(t *testing.T) {
	router := newRouter()
	for at, page := range crawlGuide(t, router) {
		if page.title == " · RateLimiter" || page.elements["h1"] != 1 || page.elements["main"] != 1 {
			t.Errorf("%s: title %q, elements %v; want a title and one h1 and main", at, page.title, page.elements)
		}
		ids := slices.Clone(page.ids)
		slices.Sort(ids)
		if len(slices.Compact(ids)) != len(page.ids) {
			t.Errorf("%s: an id occurs twice in %q", at, page.ids)
		}
		body := get(router, at).Body.String()
		if found := inline.FindString(body); found != "" {
			t.Errorf("%s: inline code that the policy forbids: %q", at, found)
		}
		if found := regexp.MustCompile(`<(img|script|link)[^>]*="(https?:)?//`).FindString(body); found != "" {
			t.Errorf("%s: loads from elsewhere: %q", at, found)
		}
	}
}

func TestGuide_navigation(t *testing.T) {
	body := get(newRouter(), "/guide/adr/0002-request-state-in-the-context").Body.String()
	for _, want := range []string{
		`<a rel="prev" href="/guide/adr/0001-module-path-and-top-level">`, `<a rel="next" href="/guide/adr/0003-reservations-over-http">`,
		`<a href="/guide/adr/0002-request-state-in-the-context" aria-current="page">`, `<a href="/guide/limits">Limits</a>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(get(newRouter(), "/guide/limits").Body.String(), "/guide/adr/0002") {
		t.Error("the navigation lists the decisions on every page")
	}
}

func TestGuide_search(t *testing.T) {
	router := newRouter()
	for query, want := range map[string]string{
		"Retry-After":            `<a href="/guide/errors-and-retries#`,
		"GOMEMLIMIT heap":        `<mark>`,
		"xyzzy":                  "No section contains",
		"":                       "Enter the words",
		"<script>":               "“&lt;script&gt;”",
		strings.Repeat("ä", 999): "No section contains",
		"\xff":                   "Enter the words",
	} {
		response := get(router, "/guide/search?q="+url.QueryEscape(query))
		if body := response.Body.String(); response.Code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%q: status %d; want %s in\n%s", query, response.Code, want, body)
		}
	}
	results := get(router, "/guide/search?q=glossary").Body.String()
	first := regexp.MustCompile(`(?s)<ol class="results">.*?<a href="([^"]+)"`).FindStringSubmatch(results)
	if first == nil || first[1] != "/guide/glossary" {
		t.Errorf("glossary: the first result is %q; want the page with this title", first)
	}
}

func TestGuide_not_found(t *testing.T) {
	for _, path := range []string{"/guide/none", "/guide/limits/", "/guide/limits.md", "/guide/../docs.go", "/guide/guide/limits", "/guide/README.md"} {
		response := get(newRouter(), path)
		if body := response.Body.String(); response.Code != http.StatusNotFound || !strings.Contains(body, "There is no page here") || !strings.Contains(body, `role="search"`) {
			t.Errorf("%s: status %d; want 404 with a search", path, response.Code)
		}
	}
}

func TestGuide_head(t *testing.T) {
	router := newRouter()
	response := httptest.NewRecorder()
	router.ServeHTTP(response, httptest.NewRequest(http.MethodHead, "/guide/limits", nil))
	if want := get(router, "/guide/limits").Header().Get("Content-Length"); response.Code != http.StatusOK || response.Header().Get("Content-Length") != want || response.Body.Len() != 0 {
		t.Errorf("status %d, header %v, %d bytes", response.Code, response.Header(), response.Body.Len())
	}
}
