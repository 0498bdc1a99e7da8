package middleware

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Quotas finds out whose key was presented, and which quota it has.
type Quotas interface {
	// Cached answers from memory alone. A nil key: memory doesn't know it.
	// Not fresh: Resolve has to be asked.
	Cached(presented string, now time.Time) (key *models.APIKey, quota *ratelimit.Quota, fresh bool)
	// Resolve answers from memory or storage. Errors: models.ErrInvalidKey,
	// models.ErrUnavailable, ctx's.
	Resolve(ctx context.Context, presented string, now time.Time) (*models.APIKey, *ratelimit.Quota, error)
}

// challenge is the WWW-Authenticate of every 401 (RFC 6750, section 3).
const challenge = `Bearer realm="ratelimiter"`

// maxKeyLength is in bytes: keys have 49 or 50, and nothing near this is
// worth hashing.
const maxKeyLength = 128

// Authenticate finds the key that a request carries, in Authorization or
// X-API-Key, and its quota. Without a valid key the request ends with a 401;
// from an address that failed too often, with a 429, unless memory vouches for
// the key.
func Authenticate(quotas Quotas, guard *AddressGuard) gin.HandlerFunc {
	return func(c *gin.Context) {
		presented, err := presentedIn(c.Request)
		if err != nil {
			Fail(c, err)
			return
		}
		e := exchangeOf(c)
		key, quota, fresh := quotas.Cached(presented, e.started)
		if !fresh {
			key, quota, err = resolve(c, quotas, guard, presented, key != nil)
			if err != nil {
				Fail(c, err)
				return
			}
		}
		e.request.Key, e.quota = key, quota
		c.Next()
	}
}

// resolve asks for a key that memory can't answer for alone. Addresses that
// failed too often are not looked up, unless the key is known (be it stale).
func resolve(c *gin.Context, quotas Quotas, guard *AddressGuard, presented string, known bool) (*models.APIKey, *ratelimit.Quota, error) {
	ctx, address := c.Request.Context(), clientAddress(c)
	if !known {
		leave, err := guard.Enter(ctx, address)
		if err != nil {
			return nil, nil, err
		}
		defer leave()
	}
	key, quota, err := quotas.Resolve(ctx, presented, exchangeOf(c).started)
	if errors.Is(err, models.ErrInvalidKey) {
		if tooMany := guard.Failed(ctx, address); tooMany != nil {
			err = tooMany
		}
	}
	return key, quota, err
}

// presentedIn returns the one key that a request carries.
func presentedIn(r *http.Request) (string, error) {
	if r.URL.RawQuery != "" {
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			return "", &models.StatusError{Status: http.StatusBadRequest, Detail: "The query string is not properly encoded."}
		}
	}
	if (r.URL.RawQuery != "" || strings.Contains(r.URL.Path, "rl_")) && holdsKey(r.URL) {
		return "", unauthorized("An API key must not stand in the URL, where logs and histories keep it: revoke it, and send the new one in a header.")
	}
	bearer, own := r.Header["Authorization"], r.Header["X-Api-Key"]
	switch {
	case len(bearer)+len(own) == 0:
		return "", unauthorized("Send your API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
	case len(bearer) > 0 && len(own) > 0:
		return "", unauthorized("Send the API key once: Authorization and X-API-Key were both there.")
	case len(bearer)+len(own) > 1:
		return "", unauthorized("Send the API key once: its header was there more than once.")
	}
	var key string
	if len(own) == 1 {
		key = own[0]
	} else {
		scheme, rest, _ := strings.Cut(bearer[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", unauthorized("Authorization has to be 'Bearer KEY'.")
		}
		key = strings.TrimLeft(rest, " ")
	}
	switch {
	case key == "":
		return "", unauthorized("The API key is empty.")
	case len(key) > maxKeyLength:
		return "", unauthorized("The API key is too long to be one.")
	}
	return key, nil
}

func unauthorized(detail string) error {
	return &models.StatusError{Status: http.StatusUnauthorized, Detail: detail}
}

// clientAddress returns the caller's address; the zero Addr if it has none.
// X-Forwarded-For counts only when it comes from a trusted proxy.
func clientAddress(c *gin.Context) netip.Addr {
	addr, err := netip.ParseAddr(c.ClientIP())
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}
