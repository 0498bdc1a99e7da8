package config

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"ratelimiter/middleware"
)

// parseOrigins parses a comma-separated list of origins, each exactly as browsers
// send it, or middleware.AnyOrigin alone. The error lists all faults.
func parseOrigins(list string) ([]string, error) {
	var origins []string
	var faults []error
	for _, part := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if part != middleware.AnyOrigin {
			faults = append(faults, checkOrigin(part))
		}
		origins = append(origins, part)
	}
	for _, origin := range origins {
		if origin == middleware.AnyOrigin && len(origins) > 1 {
			faults = append(faults, errors.New("* must be the only entry because it includes every origin"))
			break
		}
	}
	return origins, errors.Join(faults...)
}

// defaultPorts are omitted by browsers.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// checkOrigin returns why a text never equals what a browser sends: the scheme,
// the host and a non-default port (RFC 6454, section 6.2), in lower case.
func checkOrigin(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || defaultPorts[u.Scheme] == "" || u.Hostname() == "" || !strings.EqualFold(text, u.Scheme+"://"+u.Host):
		return fmt.Errorf("%q must be an origin, such as https://shop.example or http://localhost:3000", text)
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`*"<>\^{}|%`, r) }):
		return fmt.Errorf("%q must name one host, in ASCII (an IDN as xn--…)", text)
	case text != strings.ToLower(text):
		return fmt.Errorf("%q must be in lower case, as browsers send it", text)
	case u.Port() == defaultPorts[u.Scheme]:
		return fmt.Errorf("%q must omit the port, as browsers do with the default port", text)
	case strings.HasSuffix(u.Host, ":") || !isPort(u.Port()):
		return fmt.Errorf("%q has no port from 1 to 65535", text)
	}
	return nil
}

// isPort reports whether text is a port as browsers write it, or empty.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && n > 0 && strconv.FormatUint(n, 10) == text
}
