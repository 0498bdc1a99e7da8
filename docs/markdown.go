package docs

import (
	"bytes"
	"html/template"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// markdown renders CommonMark with tables. Raw HTML is left out.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.NewTable(
		extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute), // the pages' policy forbids style attributes
	)),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
)

// heading is a heading of a page with the text below it, up to the next one.
type heading struct {
	Level  int
	Title  string
	Anchor string // id of its element; empty for the title of the page
	text   string
}

// render returns a page's headings, its title first, and its content without the
// title. resolve returns the address of a relative link; if it returns none,
// the link is replaced with its text.
func render(source []byte, resolve func(link string) string) ([]heading, template.HTML, error) {
	document := markdown.Parser().Parse(text.NewReader(source), parser.WithContext(parser.NewContext(parser.WithIDs(headingIDs{}))))
	resolveLinks(document, resolve)
	headings := headingsOf(document, source)
	if title := document.FirstChild(); title != nil && title.Kind() == ast.KindHeading {
		document.RemoveChild(document, title)
	}
	var b bytes.Buffer
	if err := markdown.Renderer().Render(&b, source, document); err != nil {
		return nil, "", err
	}
	wrapped := strings.NewReplacer("<table>", `<div class="table"><table>`, "</table>", "</table></div>", "<th></th>", "<td></td>").Replace(b.String())
	return headings, template.HTML(wrapped), nil //nolint:gosec // G203: our own pages
}

// resolveLinks replaces the addresses of relative links and images.
func resolveLinks(document ast.Node, resolve func(string) string) {
	var links []*ast.Link // collected first, because a walk must not remove nodes
	walk(document, func(node ast.Node) {
		switch node := node.(type) {
		case *ast.Link:
			links = append(links, node)
		case *ast.Image:
			node.Destination = []byte(resolve(string(node.Destination)))
		}
	})
	for _, link := range links {
		link.Destination = []byte(resolve(string(link.Destination)))
		if len(link.Destination) > 0 {
			continue
		}
		for parent, child := link.Parent(), link.FirstChild(); child != nil; child = link.FirstChild() {
			parent.InsertBefore(parent, link, child)
		}
		link.Parent().RemoveChild(link.Parent(), link)
	}
}

// headingsOf returns the headings of a page with their texts.
func headingsOf(document ast.Node, source []byte) []heading {
	headings := []heading{{}}
	for block := document.FirstChild(); block != nil; block = block.NextSibling() {
		last := &headings[len(headings)-1]
		switch node, ok := block.(*ast.Heading); {
		case !ok:
			last.text += plainText(block, source) + " "
		case last.Title == "" && len(headings) == 1:
			*last = heading{Level: node.Level, Title: plainText(node, source)}
		default:
			id, _ := node.AttributeString("id")
			anchor, _ := id.([]byte)
			headings = append(headings, heading{Level: node.Level, Title: plainText(node, source), Anchor: string(anchor)})
		}
	}
	return headings
}

// plainText returns the words of a node, without markup.
func plainText(node ast.Node, source []byte) string {
	var b strings.Builder
	walk(node, func(node ast.Node) {
		switch node := node.(type) {
		case *ast.Text:
			b.Write(node.Segment.Value(source))
			if node.SoftLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.AutoLink:
			b.Write(node.URL(source))
		case *ast.FencedCodeBlock, *ast.CodeBlock:
			b.Write(node.Lines().Value(source))
		}
		if node.Type() == ast.TypeBlock {
			b.WriteByte(' ')
		}
	})
	return strings.Join(strings.Fields(b.String()), " ")
}

// walk calls visit for a node and all nodes in it.
func walk(node ast.Node, visit func(ast.Node)) {
	visit(node)
	for child := node.FirstChild(); child != nil; child = child.NextSibling() {
		walk(child, visit)
	}
}

// headingIDs makes the ids of headings as code hosts do, so that a link works
// there and here. It holds the ids in use.
type headingIDs map[string]bool

var _ parser.IDs = headingIDs{}

// Generate returns the id of a heading: its letters, digits, hyphens and
// underscores in lower case, with hyphens for spaces.
func (used headingIDs) Generate(value []byte, _ ast.NodeKind) []byte {
	id := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, string(bytes.TrimSpace(value)))
	unique := id
	for n := 1; used[unique]; n++ {
		unique = id + "-" + strconv.Itoa(n)
	}
	used[unique] = true
	return []byte(unique)
}

// Put marks an id as used.
func (used headingIDs) Put(value []byte) { used[string(value)] = true }

// guideLinks returns the function that resolves the links of the page in a
// folder of docs/.
func guideLinks(folder string, known func(name string) bool) func(string) string {
	return func(link string) string {
		if strings.HasPrefix(link, "#") || strings.Contains(link, "://") {
			return link
		}
		target, anchor, _ := strings.Cut(link, "#")
		name := path.Join(folder, target)
		if known(path.Join(name, "README.md")) {
			name = path.Join(name, "README.md")
		}
		if elsewhere, ok := servedElsewhere[name]; ok {
			return elsewhere
		}
		if !known(name) {
			return ""
		}
		if anchor != "" {
			anchor = "#" + anchor
		}
		return guideRoot + guidePath(name) + anchor
	}
}

// servedElsewhere are the addresses of files in docs/ that aren't part of the
// guide.
var servedElsewhere = map[string]string{"openapi.json": "/openapi.json", "swagger.json": swaggerRoot + "doc.json"}

// guidePath returns the path below guideRoot of a file in docs/: limits for
// guide/limits.md, adr/ for adr/README.md.
func guidePath(name string) string {
	name = strings.TrimPrefix(name, "guide/")
	if folder, ok := strings.CutSuffix(name, "README.md"); ok {
		return folder
	}
	return strings.TrimSuffix(name, ".md")
}
