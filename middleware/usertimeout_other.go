//go:build !linux

package middleware

import (
	"net"
	"time"
)

// setUserTimeout does nothing: the option is Linux's.
func setUserTimeout(*net.TCPConn, time.Duration) {}
