// Command plainenglish counts words that plain technical English avoids: in Go
// comments, which the API description is generated from, in messages (string
// literals), and in Markdown, SQL and the shared part of the API description. It
// fails when one of these has more than the limit per 1,000 lines.
//
//	go run ./scripts/plainenglish           # check
//	go run ./scripts/plainenglish -list     # list every occurrence
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// limit is the allowed number of words per 1,000 lines.
const limit = 12

// avoided matches the words and phrases to avoid.
var avoided = regexp.MustCompile(`(?i)\b(stands|tells|told|whoever|whatever|anew|shall|beside|dear|dearer|beforehand|meanwhile|` +
	`be it|had its life|come of|that there isn't|else)\b|, for (it|they|there|nothing|nobody|what|who)\b`)

// skipped are generated and third-party files, and this one.
var skipped = regexp.MustCompile(`^(docs/docs\.go|docs/(redoc|swagger-ui)/|scripts/plainenglish/)|\.gen\.go$|/testdata/|LICENSE`)

// tally counts the lines and the avoided words of one kind of text.
type tally struct {
	kind         string
	lines, words int
	list         bool
}

// add counts a text that begins at a line of a file.
func (t *tally) add(file string, line int, text string) {
	for text := range strings.Lines(text) {
		if strings.TrimSpace(text) == "" {
			continue
		}
		t.lines++
		if found := avoided.FindAllString(strings.ReplaceAll(text, "ELSE", ""), -1); found != nil { // not SQL's ELSE
			t.words += len(found)
			if t.list {
				fmt.Fprintf(os.Stdout, "%s:%d: %s: %q\n", file, line, t.kind, found)
			}
		}
		line++
	}
}

// report prints the result and returns whether it is within the limit.
func (t *tally) report() bool {
	rate := float64(t.words) * 1000 / float64(max(t.lines, 1))
	fmt.Fprintf(os.Stdout, "%s: %d words to avoid in %d lines, %.1f per 1,000\n", t.kind, t.words, t.lines, rate)
	return rate <= limit
}

func main() {
	list := flag.Bool("list", false, "list every occurrence")
	flag.Parse()
	ok, err := run(*list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "plainenglish:", err)
		os.Exit(2)
	}
	if !ok {
		fmt.Fprintf(os.Stderr, "plainenglish: more than %d per 1,000 lines; -list shows them\n", limit)
		os.Exit(1)
	}
}

// run counts in all files of the repository and returns whether every kind of
// text is within the limit.
func run(list bool) (bool, error) {
	names, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go", "*.md", "*.sql", "scripts/openapi/shared.json").Output() //nolint:noctx // a short command
	if err != nil {
		return false, fmt.Errorf("git ls-files: %w", err)
	}
	comments, messages := &tally{kind: "Go comments", list: list}, &tally{kind: "messages", list: list}
	docs := &tally{kind: "documentation", list: list}
	for name := range strings.Lines(string(names)) {
		name = strings.TrimSpace(name)
		text, err := os.ReadFile(name)
		switch {
		case skipped.MatchString(name) || os.IsNotExist(err):
			continue
		case err == nil && strings.HasSuffix(name, ".go"):
			err = countGo(name, text, comments, messages)
		default:
			docs.add(name, 1, string(text))
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	ok := true
	for _, t := range []*tally{comments, messages, docs} {
		ok = t.report() && ok
	}
	return ok, nil
}

// countGo counts in the comments and in the string literals with spaces of a Go
// file.
func countGo(name string, text []byte, comments, messages *tally) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			comments.add(name, files.Position(c.Pos()).Line, c.Text)
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		if value, err := strconv.Unquote(literal.Value); err == nil && strings.Contains(value, " ") {
			messages.add(name, files.Position(literal.Pos()).Line, value)
		}
		return true
	})
	return nil
}
