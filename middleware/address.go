package middleware

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
)

// Proxies finds out the addresses of callers behind trusted proxies. It is safe
// for concurrent use.
type Proxies struct {
	trusted []netip.Prefix
	log     *slog.Logger
	warned  sync.Once
}

// NewProxies returns Proxies that trust the X-Forwarded-For of these networks.
func NewProxies(trusted []netip.Prefix, log *slog.Logger) *Proxies {
	return &Proxies{trusted: trusted, log: log}
}

// address returns the caller's address, and the zero Addr if it is unknown. That
// is the peer's own, or, from a trusted proxy, the last address in
// X-Forwarded-For that is no trusted proxy's. An element that is no address makes
// the caller unknown: skipping it would let callers choose their address.
func (p *Proxies) address(r *http.Request) netip.Addr {
	peer := parseHost(r.RemoteAddr)
	forwarded := r.Header["X-Forwarded-For"]
	if len(forwarded) == 0 || p == nil { // nil: no proxies
		return peer
	}
	if !p.trusts(peer) {
		p.warned.Do(func() {
			p.log.Warn("X-Forwarded-For from a peer that is not in TRUSTED_PROXIES is ignored: "+
				"behind a proxy all callers share its address", "peer", peer.String())
		})
		return peer
	}
	elements := strings.Split(strings.Join(forwarded, ","), ",")
	for _, element := range slices.Backward(elements) {
		addr := parseHost(strings.TrimSpace(element))
		if !addr.IsValid() || !p.trusts(addr) {
			return addr
		}
		peer = addr
	}
	return peer // every element is a proxy: the first is the caller
}

func (p *Proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(network netip.Prefix) bool { return network.Contains(addr) })
}

// parseHost parses an address with an optional port, and brackets around IPv6.
// The result is the zero Addr if text is something else.
func parseHost(text string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone("")
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if text, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(text, ":") {
			return netip.Addr{}
		}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// clientAddress returns the address of c's caller, and the zero Addr if it is
// unknown.
func clientAddress(c *gin.Context) netip.Addr {
	s := stateOf(c)
	if !s.addressKnown {
		s.address, s.addressKnown = s.proxies.address(c.Request), true
	}
	return s.address
}

// addressText returns the address of c's caller as text.
func addressText(c *gin.Context) string {
	s := stateOf(c)
	if s.addressText == "" {
		s.addressText = textOf(clientAddress(c), c.Request.RemoteAddr)
	}
	return s.addressText
}

// textOf returns an address as text: "unknown" for the zero Addr. An IPv4 address has
// one spelling, so that remoteAddr usually contains the text.
func textOf(address netip.Addr, remoteAddr string) string {
	if !address.IsValid() {
		return "unknown"
	}
	if host, _, _ := strings.Cut(remoteAddr, ":"); address.Is4() {
		if peer, err := netip.ParseAddr(host); err == nil && peer == address {
			return host
		}
	}
	return address.String()
}

// siteText returns what the caller's address is counted as: an IPv4 address, or
// the narrowest IPv6 network of networksOf.
func siteText(c *gin.Context) string {
	if address := clientAddress(c); address.Is6() {
		return networksOf(address)[0].String()
	}
	return addressText(c)
}

// Administrative marks the request as administrative.
func Administrative() gin.HandlerFunc {
	return func(c *gin.Context) {
		stateOf(c).request.Administrative = true
		c.Next()
	}
}

// RecordAddress stores the caller's address in the request, for the audit. Only
// routes that may be audited need it.
func RecordAddress() gin.HandlerFunc {
	return func(c *gin.Context) {
		stateOf(c).request.Address = clientAddress(c)
		c.Next()
	}
}

// AllowAddress rejects a request with 403 when its key may not be used from the
// caller's address. It comes before Limit, so that a stranger with a stolen key
// spends nothing of its owner's quota.
func AllowAddress() gin.HandlerFunc {
	return func(c *gin.Context) {
		key := stateOf(c).request.Key
		if len(key.IPAllow) > 0 && !key.AllowsAddress(clientAddress(c)) {
			Fail(c, &httpError{http.StatusForbidden, "address_not_allowed", "This API key may not be used from this address."})
			return
		}
		c.Next()
	}
}
