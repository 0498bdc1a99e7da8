package testkit

import (
	"net"
	"sync"
	"testing"
)

// Proxy is a TCP proxy that simulates failures of a server: refused, broken and
// silent connections. It is safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener

	mu      sync.Mutex
	changed *sync.Cond // signals changes of links
	down    bool
	links   map[*link]struct{}
	holding int // directions with data held back

	holdRequests, holdResponses bool // of new connections
}

// NewProxy forwards connections to target (host:port) until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &Proxy{target: target, listener: listener, links: map[*link]struct{}{}}
	p.changed = sync.NewCond(&p.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.forward(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
		running.Wait()
	})
	return p
}

// Addr returns the address of the proxy as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes all connections and refuses new ones until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for l := range p.links {
		_, _ = l.client.Close(), l.server.Close()
		l.ended = true
	}
	p.changed.Broadcast()
}

// Mend forwards new connections again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// Hang stops forwarding on the current connections and leaves them open. New
// connections are forwarded.
func (p *Proxy) Hang() { p.hold(true, true) }

// Freeze stops forwarding on current and new connections until Thaw, as a server
// does whose machine has stopped.
func (p *Proxy) Freeze() { p.freeze(true, true) }

// FreezeResponses is Freeze for the data from the server: it gets requests, and
// nobody gets its answers.
func (p *Proxy) FreezeResponses() { p.freeze(false, true) }

// Thaw ends Freeze. What was held back is forwarded, unless its connection was closed.
func (p *Proxy) Thaw() { p.freeze(false, false) }

func (p *Proxy) freeze(requests, responses bool) {
	p.mu.Lock()
	p.holdRequests, p.holdResponses = requests, responses
	p.mu.Unlock()
	p.hold(requests, responses)
}

// HoldResponses holds back the data from the server on the current connections
// until ReleaseResponses.
func (p *Proxy) HoldResponses() { p.hold(false, true) }

// ReleaseResponses forwards the data that HoldResponses held back.
func (p *Proxy) ReleaseResponses() { p.hold(false, false) }

// Holding reports whether data is held back.
func (p *Proxy) Holding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holding > 0
}

func (p *Proxy) hold(requests, responses bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.holdRequests, l.holdResponses = requests, responses
	}
	p.changed.Broadcast()
}

// link is a client connection and the server connection it is forwarded to.
type link struct {
	client, server              net.Conn
	holdRequests, holdResponses bool
	ended                       bool
}

// forward copies in both directions until one side closes.
func (p *Proxy) forward(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	l := &link{client: client, server: server}
	defer p.end(l)
	if !p.add(l) {
		return
	}
	var copying sync.WaitGroup
	copying.Go(func() { p.copy(l, server, client, &l.holdRequests) })
	copying.Go(func() { p.copy(l, client, server, &l.holdResponses) })
	copying.Wait()
}

// copy forwards data in one direction, except while *held.
func (p *Proxy) copy(l *link, to, from net.Conn, held *bool) {
	defer p.end(l)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && p.mayPass(l, held) {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

// mayPass waits while *held and reports whether the link is still open.
func (p *Proxy) mayPass(l *link, held *bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for *held && !l.ended {
		p.holding++
		p.changed.Wait()
		p.holding--
	}
	return !l.ended
}

// add registers a link and reports whether the proxy is up.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l] = struct{}{}
	l.holdRequests, l.holdResponses = p.holdRequests, p.holdResponses
	return !p.down
}

// end closes both connections of a link.
func (p *Proxy) end(l *link) {
	_, _ = l.client.Close(), l.server.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	l.ended = true
	delete(p.links, l)
	p.changed.Broadcast()
}
