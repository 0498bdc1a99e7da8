package middleware

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"
)

// LoopbackHost rejects requests whose Host isn't a loopback name with 421. A web
// page can make its own name resolve to 127.0.0.1 and then read what a loopback
// address serves (DNS rebinding); the Host is still the page's. HTTP/1.0 requests
// without a Host are accepted: no browser sends them.
func LoopbackHost() gin.HandlerFunc {
	return func(c *gin.Context) {
		if host := c.Request.Host; host != "" && !IsLoopback(host) {
			Fail(c, &httpError{http.StatusMisdirectedRequest, "host_not_allowed", "This address is served for localhost only."})
		}
	}
}

// IsLoopback reports whether a host, with or without a port, is localhost or a
// loopback address.
func IsLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}
