package main

import (
	"strings"
	"testing"
)

func TestATypesCommentReadsByItself(t *testing.T) {
	for doc, want := range map[string]string{
		"":                                    "",
		"Key is an API key.":                  "An API key.",
		"Key says which doors open.":          "Which doors open.",
		"Key names what it opens: all but X.": "What it opens: all but X.",
		"Key is [one] that is kept.":          "! [one]",
		"Key is settled by [Door.Settle].":    "! [Door.Settle]",
		"Key opens doors.":                    `! "Key is"`,
		"Keys is an API key.":                 `! "Key is"`,
		"An API key.":                         `! "Key is"`,
		"Key is a list such as `[\"a\"]`.":    "A list such as `[\"a\"]`.",
	} {
		got, err := typeDescription(doc, "Key")
		if says, fails := strings.CutPrefix(want, "! "); fails {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%q: error %v; want one that says %s", doc, err, says)
			}
		} else if err != nil || got != want {
			t.Errorf("%q reads %q, %v; want %q", doc, got, err, want)
		}
	}
}

func TestWhatFollowsTheFirstParagraphIsForTheSource(t *testing.T) {
	for comment, want := range map[string]string{
		"One\ntwo.\n\nThree.\n":   "One two.",
		"\n\nOne.\n":              "One.",
		"One.\n\n\nThree.\n\nX\n": "One.",
		"":                        "",
	} {
		if got := firstParagraph(comment); got != want {
			t.Errorf("%q: %q, want %q", comment, got, want)
		}
	}
}
