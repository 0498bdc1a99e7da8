package queue

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReason bounds a recorded error, in bytes. What is looked at for it is
// bounded by maxReasonSource: an error may contain a whole response.
const (
	maxReason       = 500
	maxReasonSource = 8 << 10
)

// secrets are the parts of texts that aren't recorded. Of each, the part in its
// group is kept.
var secrets = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`(\w+://)[^\s/@]+@`, // user and password of a URL
	`(\b(?:password|passwd|pwd|secret|token|api[_-]?key|authorization)"?\s*[:=]\s*)(?:(?:bearer|basic)\s+)?(?:"[^"]*"?|[^\s"',;&]+)`,
	`(\b(?:bearer|basic)\s+)[\w+/=.~-]{6,}`,       // credentials of an Authorization field
	`(\brl_(?:live|admin)_)\w+`,                   // API keys
	`(\btok_)\w+`,                                 // payment tokens
	`()[^\s@<>"(),:;=\[\]\\]+@[^\s@<>"(),:;=\\]+`, // email addresses, also international ones
}, "|"))

// Redact replaces email addresses, payment tokens and credentials in a text.
func Redact(text string) string {
	return secrets.ReplaceAllStringFunc(text, func(found string) string {
		return strings.Join(secrets.FindStringSubmatch(found)[1:], "") + "***"
	})
}

// reasonOf returns an error's text as it is recorded: one line that Postgres
// can store, shortened, without secrets.
func reasonOf(err error) string {
	text := err.Error()
	text = strings.ToValidUTF8(text[:min(len(text), maxReasonSource)], "?")
	text = Redact(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text))
	if len(text) <= maxReason {
		return text
	}
	end := maxReason
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
