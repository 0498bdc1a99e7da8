package middleware

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Quotas resolves presented keys.
type Quotas interface {
	// Cached returns what is cached. A nil key means that it isn't. If the
	// result isn't fresh, Resolve must be called.
	Cached(presented string, now time.Time) (key *models.APIKey, quota *ratelimit.Quota, fresh bool)
	// Resolve returns the key and its quota from the cache or from storage.
	// Errors: models.ErrInvalidKey, models.ErrUnavailable, ctx's.
	Resolve(ctx context.Context, presented string, now time.Time) (*models.APIKey, *ratelimit.Quota, error)
}

// challenge is the WWW-Authenticate of every 401 (RFC 6750, section 3).
const challenge = `Bearer realm="ratelimiter"`

// maxKeyLength is in bytes. Keys have 49 or 50; longer texts aren't hashed.
const maxKeyLength = 128

// Authenticate resolves the key in Authorization or X-API-Key, and its quota.
// Without a valid key the request fails with 401, or with 429 from an address with
// too many failures.
func Authenticate(quotas Quotas, failures *FailureLimiter) gin.HandlerFunc {
	return func(c *gin.Context) {
		s := stateOf(c)
		presented, err := presentedIn(c.Request)
		if err != nil {
			failAuthentication(c, s, err)
			return
		}
		key, quota, fresh := quotas.Cached(presented, s.started)
		if fresh {
			s.clock = s.started
		} else {
			key, quota, err = resolve(c, quotas, failures, presented, key != nil)
			if err != nil {
				failAuthentication(c, s, err)
				return
			}
		}
		s.request.Key, s.request.Quota = key, quota
		c.Next()
	}
}

// resolve resolves a key that isn't cached or not fresh. Live keys are looked up
// at once, unknown ones hardly ever. While memory can't decide, the lookups of
// addresses with too many failures are slowed.
func resolve(c *gin.Context, quotas Quotas, failures *FailureLimiter, presented string, cached bool) (*models.APIKey, *ratelimit.Quota, error) {
	ctx, address := c.Request.Context(), clientAddress(c)
	verdict := models.KeyLive
	if !cached {
		var err error
		if verdict, err = failures.screen(ctx, address, presented); err != nil {
			return nil, nil, err
		}
	}
	if verdict == models.KeyUnknown {
		return nil, nil, failures.invalid(ctx, address)
	}
	if verdict == models.KeyUndecided {
		leave, err := failures.Enter(ctx, address)
		if err != nil {
			return nil, nil, err
		}
		defer leave()
	}
	key, quota, err := quotas.Resolve(ctx, presented, stateOf(c).started)
	if errors.Is(err, models.ErrInvalidKey) {
		if verdict == models.KeyLive && failures.filter != nil { // it has expired or been revoked
			_, _ = failures.lookAgain(ctx, address, presented) // if that fails, the next request tries again
		}
		err = failures.invalid(ctx, address)
	}
	return key, quota, err
}

// presentedIn returns the one key in a request.
func presentedIn(r *http.Request) (string, error) {
	if (r.URL.RawQuery != "" || strings.Contains(r.URL.Path, "rl_")) && urlContainsKey(r.URL) {
		return "", unauthorized("key_in_url", "The URL contains an API key, which logs and histories may keep. Revoke the key and send the new one in a header.")
	}
	bearer, own := withoutEmpty(r.Header["Authorization"]), withoutEmpty(r.Header["X-Api-Key"])
	switch {
	case len(bearer)+len(own) == 0:
		return "", unauthorized("key_missing", "Send your API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
	case len(bearer) > 0 && len(own) > 0:
		return "", unauthorized("key_repeated", "Send the API key once: both Authorization and X-API-Key are present.")
	case len(bearer)+len(own) > 1:
		return "", unauthorized("key_repeated", "Send the API key once: its header is repeated.")
	}
	var key string
	if len(own) == 1 {
		key = own[0]
	} else {
		scheme, rest, _ := strings.Cut(bearer[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", unauthorized("key_invalid", "Authorization must be 'Bearer KEY'.")
		}
		key = strings.TrimLeft(rest, " ")
	}
	switch {
	case key == "":
		return "", unauthorized("key_missing", "The API key is empty.")
	case len(key) > maxKeyLength:
		return "", unauthorized("key_invalid", "The API key is too long.")
	}
	return key, nil
}

func unauthorized(code, detail string) error {
	return &httpError{http.StatusUnauthorized, code, detail}
}

// withoutEmpty returns the lines that aren't empty: an empty header is absent.
func withoutEmpty(lines []string) []string {
	if slices.Contains(lines, "") {
		return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return line == "" })
	}
	return lines
}
