package config

import (
	"errors"
	"net"
	"net/mail"
	"net/url"
	"strconv"

	"ratelimiter/middleware"
)

// SMTP is the server that emails are sent to.
type SMTP struct {
	Host           string
	Port           int
	User, Password string        // empty: no authentication
	ImplicitTLS    bool          // TLS from the start; otherwise STARTTLS
	Plaintext      bool          // a server that doesn't offer STARTTLS is accepted
	From           *mail.Address // sender
}

// Ports of SMTP (RFC 6409, RFC 8314).
const (
	submissionPort  = "587"
	submissionsPort = "465" // implicit TLS
)

// parseSMTPURL returns nil for an empty text. Errors don't repeat the text, because
// it contains a password.
func parseSMTPURL(text string) (*SMTP, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // not set
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return nil, errors.New("must look like smtp://user:password@host:587?from=shop@example.com, with smtps for TLS from the start")
	}
	s := &SMTP{Host: u.Hostname(), User: u.User.Username(), ImplicitTLS: u.Scheme == "smtps"}
	s.Password, _ = u.User.Password()
	port := u.Port()
	switch {
	case port == "" && s.ImplicitTLS:
		port = submissionsPort
	case port == "":
		port = submissionPort
	}
	var faults []error
	fault := func(text string) { faults = append(faults, errors.New(text)) }
	if s.Port, err = strconv.Atoi(port); err != nil || s.Port < 1 || s.Port > 65535 {
		fault("the port must be from 1 to 65535")
	}
	if (s.User == "") != (s.Password == "") {
		fault("needs both user and password, or neither")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		fault("the parameters can't be decoded")
	}
	for name := range query {
		if name != "from" && name != "starttls" {
			fault("knows only the parameters from and starttls")
			break
		}
	}
	if s.From, err = mail.ParseAddress(query.Get("from")); err != nil || !isASCII(s.From.Address) {
		fault("needs the sender's address, such as ?from=shop@example.com")
	}
	s.Plaintext = middleware.IsLoopback(net.JoinHostPort(s.Host, port)) && s.User == ""
	if starttls := query.Get("starttls"); starttls != "" {
		switch {
		case starttls != "optional":
			fault("starttls can only be optional")
		case s.ImplicitTLS:
			fault("starttls is for smtp, not for smtps")
		case s.User != "":
			fault("a password needs TLS: starttls can't be optional")
		}
		s.Plaintext = true
	}
	return s, errors.Join(faults...)
}

func isASCII(text string) bool {
	for _, r := range text {
		if r > 0x7e {
			return false
		}
	}
	return true
}
