package config

import (
	"errors"
	"net/url"

	"github.com/redis/rueidis"
)

// checkRedisURL validates a URL. The error doesn't repeat it, because it contains
// a password.
func checkRedisURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err == nil && u.Scheme != "unix" && u.Host == "" {
		err = errors.New("no host")
	}
	if err == nil {
		_, err = rueidis.ParseURL(text)
	}
	if err != nil {
		return errors.New("must look like redis://user:password@host:6379/0, with rediss for TLS; " +
			"for Sentinel redis://host:26379?master_set=NAME&addr=HOST:26379, for a Cluster redis://host:6379?addr=HOST:6379")
	}
	return nil
}
