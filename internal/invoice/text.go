package invoice

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxText bounds, in bytes, what is looked at of one name: more than is ever
// drawn, and little enough that no name can make a drawing dear.
const maxText = 2000

// unknown stands for what no font has.
const unknown = '\uFFFD'

// clean makes text fit to draw on one line: composed (NFC), white space of any
// kind one blank, what has no shape of its own (controls, marks of direction,
// joiners, variation selectors) left out, and what no font has replaced.
func (t *typesetter) clean(text string) string {
	text = norm.NFC.String(strings.ToValidUTF8(head(text, maxText), string(unknown)))
	var out strings.Builder
	gap := false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			gap = out.Len() > 0
			continue
		case unicode.Is(unicode.C, r) && !unicode.Is(unicode.Co, r), unicode.Is(unicode.Variation_Selector, r):
			continue
		case !t.glyph(r).known:
			r = unknown
		}
		if gap {
			out.WriteByte(' ')
			gap = false
		}
		out.WriteRune(r)
	}
	return out.String()
}

// head returns at most n bytes of text, and no half letter.
func head(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// ellipsis ends what was cut.
const ellipsis = "…"

// wrap breaks clean text into at most most lines of width millimetres at a size
// in points: at blanks, behind hyphens and slashes, and around ideographs; where
// there is none of these, anywhere. What doesn't fit is cut, and says so.
func (t *typesetter) wrap(text string, width, points float64, most int) []string {
	room := width / points / millimetresPerPoint * 1000
	var lines []string
	for text != "" {
		fits := t.fitting(text, room)
		if len(lines) == most-1 && fits < len(text) {
			return append(lines, t.cut(text, room))
		}
		lines = append(lines, strings.TrimRight(text[:fits], " "))
		text = strings.TrimLeft(text[fits:], " ")
	}
	return lines
}

// fitting returns how many bytes of text go on a line, at least one letter.
func (t *typesetter) fitting(text string, room float64) int {
	var used float64
	var before rune
	breakAt := 0
	for i, r := range text {
		if i > 0 && mayBreak(before, r) {
			breakAt = i
		}
		used += t.glyph(r).width
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

// mayBreak reports whether a line may end between two letters.
func mayBreak(before, after rune) bool {
	switch {
	case unicode.Is(unicode.M, after), after == ' ':
		return false
	case before == ' ', before == '-', before == '/':
		return true
	default:
		return ideographic(before) && !unicode.IsPunct(after) || ideographic(after) && !unicode.IsPunct(before)
	}
}

func ideographic(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

// cut returns what of text fits before an ellipsis.
func (t *typesetter) cut(text string, room float64) string {
	room -= t.glyph([]rune(ellipsis)[0]).width
	var used float64
	for i, r := range text {
		if used += t.glyph(r).width; used > room {
			return strings.TrimRight(text[:i], " ") + ellipsis
		}
	}
	return text
}
