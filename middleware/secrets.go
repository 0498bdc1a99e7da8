package middleware

import (
	"net/url"
	"regexp"
	"strings"
)

// presentedKey matches everything that begins like an API key.
var presentedKey = regexp.MustCompile(`rl_(live|admin)_[0-9A-Za-z_]*`)

// maskKeys masks API keys in a text to be logged or sent.
func maskKeys(s string) string {
	if !strings.Contains(s, "rl_") {
		return s
	}
	return presentedKey.ReplaceAllString(s, "rl_${1}_***")
}

// maskURL returns the path of a URL with API keys masked, also percent-encoded ones.
func maskURL(u *url.URL) string {
	if containsKey(u.Path) {
		return (&url.URL{Path: maskKeys(u.Path)}).EscapedPath()
	}
	return u.EscapedPath()
}

// containsKey reports whether a text contains an API key.
func containsKey(s string) bool { return strings.Contains(s, "rl_") && presentedKey.MatchString(s) }

// urlContainsKey reports whether a URL contains an API key, also percent-encoded.
func urlContainsKey(u *url.URL) bool {
	if containsKey(u.Path) || containsKey(u.RawQuery) {
		return true
	}
	if !strings.Contains(u.RawQuery, "%") {
		return false
	}
	query, err := url.QueryUnescape(u.RawQuery)
	return err == nil && containsKey(query)
}
