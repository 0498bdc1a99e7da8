package models

import "unicode"

// IsControl reports whether r is a control character or one that changes the
// direction of text (Unicode Standard Annex 9, section 2). Either can make a text
// look like another one, or make a terminal do something.
func IsControl(r rune) bool {
	return unicode.IsControl(r) || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}
