package kafka

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Brokers is how the brokers are reached.
type Brokers struct {
	Addresses []string // host:port of some brokers; the others are found there
	TLS       bool
	User      string // with SASL; empty: without
	Password  string
	Plain     bool // SASL PLAIN instead of SCRAM-SHA-512
}

// ParseBrokers parses "host:9092,host:9092" or "tls://user:password@host:9092,…", which
// may end with "?sasl=plain". User and password are percent-encoded. An error lists
// all faults and contains no password.
func ParseBrokers(text string) (Brokers, error) {
	var b Brokers
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	rest, query, _ := strings.Cut(text, "?")
	if scheme, after, found := strings.Cut(rest, "://"); found {
		rest, b.TLS = after, scheme == "tls"
		if !b.TLS {
			fault("the only scheme is tls://; brokers without TLS have none")
		}
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		user, password, both := strings.Cut(rest[:at], ":")
		if strings.ContainsAny(password, "@,") {
			fault("user and password are given once, before the first host, and are percent-encoded")
		}
		var err1, err2 error
		b.User, err1 = url.PathUnescape(user)
		b.Password, err2 = url.PathUnescape(password)
		rest = rest[at+1:]
		switch {
		case err1 != nil || err2 != nil:
			fault("the user or the password isn't percent-encoded")
		case !both || b.User == "" || b.Password == "":
			fault("a user needs a password: tls://user:password@host:9092")
		}
		if !strings.HasPrefix(text, "tls://") {
			fault("a password is sent with TLS only: tls://user:password@host:9092")
		}
	}
	for i, address := range strings.Split(rest, ",") {
		address = strings.TrimSpace(address)
		if err := checkAddress(address); err != nil { // it isn't quoted: it may be a part of a password that isn't encoded
			fault("broker %d: %w", i+1, err)
		}
		b.Addresses = append(b.Addresses, address)
	}
	switch query {
	case "":
	case "sasl=plain":
		b.Plain = true
		if b.User == "" {
			fault("?sasl=plain needs a user and a password")
		}
	default:
		fault("after the question mark only sasl=plain may follow")
	}
	if len(faults) > 0 {
		return Brokers{}, errors.Join(faults...)
	}
	return b, nil
}

// checkAddress checks host:port.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return errors.New("want host:port, such as kafka-1:9092")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("want a port from 1 to 65535")
	}
	if strings.ContainsAny(host, "/ @") {
		return errors.New("want a host name or an IP address")
	}
	return nil
}
