package middleware

import "strconv"

// The most frequent JSON of this package, the log lines of requests and problems, is
// appended by hand. What isn't plain is left to the encoders of the standard
// library, which give the same bytes.

// isPlain are the bytes that all JSON encoders write as they are.
var isPlain = func() (plain [256]bool) {
	for b := byte(' '); b <= '~'; b++ {
		plain[b] = b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
	}
	return plain
}()

// appendPlain appends a string of plain bytes, quotes and backslashes as JSON. It
// returns false if there are others.
func appendPlain(b []byte, s string) ([]byte, bool) {
	b = append(b, '"')
	written := 0
	for i := range len(s) {
		if isPlain[s[i]] {
			continue
		}
		if s[i] != '"' && s[i] != '\\' {
			return b, false
		}
		b = append(b, s[written:i]...)
		b = append(b, '\\', s[i])
		written = i + 1
	}
	b = append(b, s[written:]...)
	return append(b, '"'), true
}

// appendFloat appends a number as JSON. It returns false for one that JSON writes
// with an exponent, or not at all.
func appendFloat(b []byte, f float64) ([]byte, bool) {
	if f != 0 && !(1e-6 <= f && f < 1e21) {
		return b, false
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64), true
}
