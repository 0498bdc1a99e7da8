package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"ratelimiter/middleware"
)

// Bounds of a connection, so that idle clients don't hold it. Streams set longer
// write deadlines themselves.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// opsWriteTimeout allows for a profile, which takes 30 s by default.
const opsWriteTimeout = 2 * time.Minute

// drainTimeout bounds how long running requests may take after Stop.
const drainTimeout = 20 * time.Second

// Listener is a TCP address that is bound before the components start that serve
// it, so that an address in use fails early and early clients wait instead of
// being refused.
type Listener struct {
	setting, addr string
	net.Listener
}

// NewListener returns a Listener of the address in a setting.
func NewListener(setting, addr string) *Listener { return &Listener{setting: setting, addr: addr} }

// Name returns "listener" and the setting's name.
func (l *Listener) Name() string { return "listener " + l.setting }

// Start binds the address.
func (l *Listener) Start(ctx context.Context) (err error) {
	l.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", l.addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use: 'ratelimiter doctor' names the program; or set another %s", l.addr, l.setting)
	}
	return err
}

// Stop closes the listener, if its server hasn't.
func (l *Listener) Stop(context.Context) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// HTTP serves a handler on a Listener.
type HTTP struct {
	name     string
	listener *Listener
	server   *http.Server
	failed   func(error)
	ended    chan struct{}
	closing  atomic.Bool // responses close their connections
}

// NewHTTP returns the API's server. failed is called if it ends by itself.
func NewHTTP(listener *Listener, handler http.Handler, log *slog.Logger, failed func(error)) *HTTP {
	h := &HTTP{name: "API server", listener: listener, failed: failed, ended: make(chan struct{})}
	h.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h.closing.Load() {
				w.Header().Set("Connection", "close")
			}
			handler.ServeHTTP(w, r)
		}),
		ConnContext:       middleware.WithConnection,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return h
}

// NewOpsHTTP returns the server of the ops address.
func NewOpsHTTP(listener *Listener, handler http.Handler, log *slog.Logger, failed func(error)) *HTTP {
	h := NewHTTP(listener, handler, log, failed)
	h.name, h.server.WriteTimeout = "ops server", opsWriteTimeout
	return h
}

// Name returns the server's name.
func (h *HTTP) Name() string { return h.name }

// Start begins to serve.
func (h *HTTP) Start(context.Context) error {
	go func() {
		defer close(h.ended)
		if err := h.server.Serve(h.listener); !errors.Is(err, http.ErrServerClosed) {
			h.failed(fmt.Errorf("%s: %w", h.name, err))
		}
	}()
	return nil
}

// CloseConnections makes every response the last of its connection. Unlike
// http.Server.SetKeepAlivesEnabled, it leaves idle connections open, on which a
// request may be under way.
func (h *HTTP) CloseConnections() { h.closing.Store(true) }

// Stop accepts no more connections and waits for running requests. Requests that
// exceed drainTimeout are cut, which is an error.
func (h *HTTP) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	err := h.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("%s: requests did not end within %s", h.name, drainTimeout), h.server.Close())
	}
	<-h.ended
	return err
}
