package middleware

import (
	"net/url"
	"regexp"
	"strings"
)

// presentedKey matches everything that begins as an API key does.
var presentedKey = regexp.MustCompile(`rl_(live|admin)_[0-9A-Za-z_]*`)

// withoutKeys masks API keys in a text that is going to be logged or sent.
func withoutKeys(s string) string {
	if !strings.Contains(s, "rl_") {
		return s
	}
	return presentedKey.ReplaceAllString(s, "rl_${1}_***")
}

// holdsSecret reports whether a text has an API key in it.
func holdsSecret(s string) bool { return strings.Contains(s, "rl_") && presentedKey.MatchString(s) }

// holdsKey reports whether a URL holds an API key, be it percent-encoded.
func holdsKey(u *url.URL) bool {
	if holdsSecret(u.Path) || holdsSecret(u.RawQuery) {
		return true
	}
	if !strings.Contains(u.RawQuery, "%") {
		return false
	}
	query, err := url.QueryUnescape(u.RawQuery)
	return err == nil && holdsSecret(query)
}
