package main

import (
	"fmt"
	"regexp"
	"strings"
)

// What of a comment in the source is for readers of the API: its first paragraph, as a sentence that stands by itself.
// What stands in further paragraphs is for readers of the source.

// opening is how a type's comment begins: its name, and a verb that the description does without.
var opening = regexp.MustCompile(`^\w+ (?:is|are|says|names|lists|tells) `)

// docLink is a link to something in the source, such as [Reservation.Settle].
var docLink = regexp.MustCompile(`\[[A-Za-z][\w.]*\]`)

// typeDescription is what a type's comment says to readers of the API; "" for none. Error: the comment begins in another
// way than "Name is", or links to the source.
func typeDescription(doc, name string) (string, error) {
	if doc == "" {
		return "", nil
	}
	start := opening.FindString(doc)
	if !strings.HasPrefix(start, name+" ") {
		return "", fmt.Errorf("the comment %q: begin it with %q, or says, names, lists, tells", doc, name+" is")
	}
	return readable(strings.TrimPrefix(doc, start))
}

// readable is a text with a capital letter. Error: it links to the source.
func readable(text string) (string, error) {
	if link := docLink.FindString(text); link != "" {
		return "", fmt.Errorf("the comment %q: readers of the API can't follow %s; tell it in a second paragraph", text, link)
	}
	return upperFirst(text), nil
}

// firstParagraph is the first paragraph of a comment, without its line breaks.
func firstParagraph(comment string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(comment), "\n\n")
	return strings.Join(strings.Fields(first), " ")
}
