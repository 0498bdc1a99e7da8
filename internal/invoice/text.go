package invoice

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxText is the number of bytes of a text that are processed: more than fits
// its column, and few enough to bound the cost of a drawing.
const maxText = 2000

// replacement is drawn for characters that the fonts don't have.
const replacement = '\uFFFD'

// clean prepares text for drawing on one line. It composes the text (NFC),
// reduces white space to single spaces, removes invisible characters (controls,
// directional marks, joiners, variation selectors) and replaces those that the
// fonts don't have.
func (t *typesetter) clean(text string) string {
	text = norm.NFC.String(strings.ToValidUTF8(head(text, maxText), string(replacement)))
	var out strings.Builder
	gap := false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			gap = out.Len() > 0
			continue
		case unicode.Is(unicode.C, r) && !unicode.Is(unicode.Co, r), unicode.Is(unicode.Variation_Selector, r):
			continue
		case t.advance(r, regular) == noGlyph:
			r = replacement
		}
		if gap {
			out.WriteByte(' ')
			gap = false
		}
		out.WriteRune(r)
	}
	return out.String()
}

// head returns the first n bytes of text, or fewer to keep characters whole.
func head(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// ellipsis ends truncated text.
const ellipsis = "…"

// wrap breaks clean text into at most maxLines lines of width millimetres at a
// size in points: at spaces, after hyphens and slashes, otherwise anywhere.
// Text that doesn't fit ends with an ellipsis.
func (t *typesetter) wrap(text string, width, points float64, maxLines int) []string {
	room := width / points / millimetresPerPoint * 1000
	var lines []string
	for text != "" {
		fits := t.fitting(text, room)
		if len(lines) == maxLines-1 && fits < len(text) {
			return append(lines, t.cut(text, room))
		}
		lines = append(lines, strings.TrimRight(text[:fits], " "))
		text = strings.TrimLeft(text[fits:], " ")
	}
	return lines
}

// fitting returns how many bytes of text fit on a line, at least one character.
func (t *typesetter) fitting(text string, room float64) int {
	var used float64
	var before rune
	breakAt := 0
	for i, r := range text {
		if i > 0 && mayBreak(before, r) {
			breakAt = i
		}
		used += t.advance(r, regular)
		if used > room && i > 0 && r != ' ' {
			if breakAt > 0 {
				return breakAt
			}
			return i
		}
		before = r
	}
	return len(text)
}

// mayBreak reports whether a line may end between two characters.
func mayBreak(before, after rune) bool {
	if unicode.Is(unicode.M, after) || after == ' ' {
		return false
	}
	return before == ' ' || before == '-' || before == '/'
}

// cut returns the part of text that fits before an ellipsis, and the ellipsis.
func (t *typesetter) cut(text string, room float64) string {
	room -= t.advance([]rune(ellipsis)[0], regular)
	var used float64
	for i, r := range text {
		if used += t.advance(r, regular); used > room {
			return strings.TrimRight(text[:i], " ") + ellipsis
		}
	}
	return text
}
