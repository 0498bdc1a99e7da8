package models

import "unicode"

// IsControl reports whether r is a control character, a line or paragraph
// separator, or an invisible format character, such as one that changes the
// direction of text or has no width (Unicode categories Cc, Zl, Zp and Cf). Each
// can make a text look like another one, or make a terminal do something.
func IsControl(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Cf)
}
