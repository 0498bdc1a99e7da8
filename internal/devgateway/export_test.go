package devgateway

import "time"

// SetSlowDelay changes the delay of tok_slow. Call it before the gateway is used.
func (g *Gateway) SetSlowDelay(d time.Duration) { g.slow = d }
