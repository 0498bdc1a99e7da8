package docs

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// Bounds of a search.
const (
	maxQuery   = 200 // bytes of the query that are read
	maxResults = 20
	around     = 14 // words shown on each side of a match
)

// result is a section of a page in which all words of a query occur.
type result struct {
	Page                 *guidePage
	Heading              heading
	Before, Match, After string // the text around the first match
	score                int
}

// search handles GET /guide/search?q=: the sections in which all words of the
// query occur, those with words in a title first.
func (g *guide) search(c *gin.Context) {
	query := strings.ToValidUTF8(c.Query("q"), "")
	query = query[:min(len(query), maxQuery)]
	g.write(c, http.StatusOK, view{Title: "Search", Search: true, Query: query, Results: g.find(query)})
}

// find returns the sections that match a query, best first.
func (g *guide) find(query string) []result {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return nil
	}
	var results []result
	for _, page := range g.pages {
		for _, section := range page.Headings {
			if found, ok := match(page, section, words); ok {
				results = append(results, found)
			}
		}
	}
	slices.SortStableFunc(results, func(a, b result) int { return cmp.Compare(b.score, a.score) })
	return results[:min(len(results), maxResults)]
}

// match reports whether all words occur in a section. A word in the heading
// scores more than one in the title of the page, and that more than one in the
// text.
func match(page *guidePage, section heading, words []string) (found result, ok bool) {
	heading, title, text := strings.ToLower(section.Title), strings.ToLower(page.Title()), strings.ToLower(section.text)
	for _, word := range words {
		switch {
		case strings.Contains(heading, word):
			found.score += 10
		case strings.Contains(text, word):
			found.score++
		case !strings.Contains(title, word):
			return result{}, false
		}
		if strings.Contains(title, word) {
			found.score += 5
		}
	}
	found.Page, found.Heading = page, section
	found.Before, found.Match, found.After = excerpt(section.text, words)
	return found, true
}

// excerpt returns the first word of a text in which a word of the query occurs,
// with the words around it.
func excerpt(text string, words []string) (before, found, after string) {
	join := func(words []string) string { return strings.Join(words, " ") }
	all := strings.Fields(text)
	at := slices.IndexFunc(all, func(s string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(strings.ToLower(s), word) })
	})
	if at < 0 {
		return "", "", join(all[:min(len(all), 2*around)])
	}
	return join(all[max(0, at-around):at]), all[at], join(all[at+1 : min(len(all), at+1+around)])
}
