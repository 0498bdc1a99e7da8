package docs

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
)

// guideRoot is the path of Guide.
const guideRoot = "/guide/"

// picturePolicy is the Content-Security-Policy of a picture that is opened by
// itself: its style element selects the colours.
const picturePolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

//go:embed *.md adr concepts guide
var guideFiles embed.FS

//go:embed pages/guide.html
var guideTemplate []byte

//go:embed pages/guide.css
var guideStyle []byte

//go:embed pages/guide.js
var guideScript []byte

var (
	guideStyleFile  = embedded("guide.css", guideStyle)
	guideScriptFile = embedded("guide.js", guideScript)
)

// section is a folder of the guide in the navigation.
type section struct {
	Title string
	Pages []*guidePage
	Open  bool // lists its pages always, otherwise only on one of them
}

// guidePage is a page of the guide: a Markdown file in docs/.
type guidePage struct {
	Path     string // below guideRoot
	Name     string // in the navigation: the title up to a colon
	Headings []heading
	Body     template.HTML
	section  *section // nil: the first page
}

// Title returns the title of the page.
func (p *guidePage) Title() string { return p.Headings[0].Title }

// Contents returns the headings of the table of contents.
func (p *guidePage) Contents() []heading {
	return slices.DeleteFunc(slices.Clone(p.Headings[1:]), func(h heading) bool { return h.Level > 3 })
}

// In reports whether the page belongs to a section.
func (p *guidePage) In(s *section) bool { return p != nil && p.section == s }

// guide is the rendered guide.
type guide struct {
	page     *template.Template
	sections []*section
	pages    []*guidePage     // in reading order
	files    map[string]*file // by path below guideRoot
}

// loadGuide renders the guide, once.
var loadGuide = sync.OnceValue(func() *guide {
	g, err := newGuide(guideFiles)
	if err != nil {
		panic(err) // an invalid page in the source
	}
	return g
})

// Guide handles GET /guide/*any: the Markdown files of docs/ as pages, their
// pictures, and the search.
func Guide(c *gin.Context) {
	g := loadGuide()
	name := strings.TrimPrefix(c.Param("any"), "/")
	switch f, found := g.files[name]; {
	case found && path.Ext(name) == ".svg":
		c.Header("Content-Security-Policy", picturePolicy)
		f.serve(c)
	case found:
		c.Header("Content-Security-Policy", pagePolicy)
		f.serve(c)
	case name == "search":
		g.search(c)
	default:
		g.write(c, http.StatusNotFound, view{Title: "Page not found", NotFound: true})
	}
}

// Home handles GET / and GET /guide: it redirects to the first page of the guide.
func Home(c *gin.Context) { c.Redirect(http.StatusFound, guideRoot) }

// view is what the template shows.
type view struct {
	Title          string
	Page           *guidePage // nil: none
	Previous, Next *guidePage
	NotFound       bool
	Search         bool
	Query          string
	Results        []result
	Sections       []*section
}

// write sends a page that isn't a file.
func (g *guide) write(c *gin.Context, status int, v view) {
	html, err := g.execute(v)
	if err != nil {
		_ = c.Error(err)
		c.Status(http.StatusInternalServerError)
		return
	}
	c.Header("Content-Security-Policy", pagePolicy)
	c.Data(status, contentTypes[".html"], html)
}

// execute returns the HTML of a view.
func (g *guide) execute(v view) ([]byte, error) {
	v.Sections = g.sections
	var b bytes.Buffer
	err := g.page.Execute(&b, v)
	return b.Bytes(), err
}

// newGuide renders the Markdown files of files.
func newGuide(files fs.FS) (*guide, error) {
	g := &guide{files: map[string]*file{"guide.css": guideStyleFile, "guide.js": guideScriptFile}}
	var err error
	if g.page, err = template.New("guide").Parse(string(versioned(guideTemplate))); err != nil {
		return nil, err
	}
	if err = g.load(files); err != nil {
		return nil, err
	}
	for i, page := range g.pages {
		v := view{Title: page.Title(), Page: page}
		if i > 0 {
			v.Previous = g.pages[i-1]
		}
		if i+1 < len(g.pages) {
			v.Next = g.pages[i+1]
		}
		html, err := g.execute(v)
		if err != nil {
			return nil, err
		}
		if g.files[page.Path] != nil {
			return nil, fmt.Errorf("two pages have the path %s%s", guideRoot, page.Path)
		}
		g.files[page.Path] = embedded("page.html", html)
	}
	return g, nil
}

// load reads pages and pictures and puts the pages in reading order.
func (g *guide) load(files fs.FS) error {
	reference := &section{Title: "Reference", Open: true}
	folders := map[string]*section{
		"guide": {Title: "Guide", Open: true}, "concepts": {Title: "How it works", Open: true}, "adr": {Title: "Decisions"},
	}
	g.sections = []*section{folders["guide"], folders["concepts"], reference, folders["adr"]}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		source, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if path.Ext(name) != ".md" {
			g.files[guidePath(name)] = embedded(name, source)
			return nil
		}
		page, err := newGuidePage(files, name, source)
		if name == "README.md" {
			g.pages = append(g.pages, page)
			return err
		}
		page.section = cmp.Or(folders[path.Dir(name)], reference)
		page.section.Pages = append(page.section.Pages, page)
		return err
	})
	if err != nil {
		return err
	}
	home := g.pages[0]
	for _, s := range g.sections {
		slices.SortStableFunc(s.Pages, func(a, b *guidePage) int { return cmp.Compare(home.position(a), home.position(b)) })
		g.pages = append(g.pages, s.Pages...)
	}
	return nil
}

// newGuidePage renders the Markdown file with a name.
func newGuidePage(files fs.FS, name string, source []byte) (page *guidePage, err error) {
	page = &guidePage{Path: guidePath(name)}
	exists := func(name string) bool {
		info, err := fs.Stat(files, name)
		return err == nil && !info.IsDir()
	}
	page.Headings, page.Body, err = render(source, guideLinks(path.Dir(name), exists))
	page.Name, _, _ = strings.Cut(page.Title(), ": ")
	return page, err
}

// position returns a number by which pages sort: in the order of the links on
// this page, then those without one, in their present order.
func (p *guidePage) position(linked *guidePage) int {
	if at := strings.Index(string(p.Body), `"`+guideRoot+linked.Path+`"`); at >= 0 {
		return at
	}
	return math.MaxInt
}
