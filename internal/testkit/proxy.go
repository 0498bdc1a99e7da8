package testkit

import (
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client and a server on the network, so that a test
// can take the server away, bring it back, and let it fall silent.
type Proxy struct {
	target   string
	listener net.Listener

	mu      sync.Mutex
	changed *sync.Cond // a link was held, let go or ended
	down    bool
	links   map[*link]struct{}
	holding int // directions with something kept back
}

// NewProxy passes connections on to target (host:port) until the test ends.
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
			running.Go(func() { p.pass(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
		running.Wait()
	})
	return p
}

// Addr is where the proxy listens, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut breaks every connection and refuses new ones, as a server that is down.
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

// Mend passes new connections on again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// Hang passes no byte on any more on the connections that there are, and leaves
// them open: to either side the other has fallen silent. New ones are passed on.
func (p *Proxy) Hang() { p.hold(true, true) }

// HoldAnswers keeps back what the server says on the connections that there
// are, until PassAnswers.
func (p *Proxy) HoldAnswers() { p.hold(false, true) }

// PassAnswers passes on what HoldAnswers kept back.
func (p *Proxy) PassAnswers() { p.hold(false, false) }

// Holds reports whether an answer is being kept back.
func (p *Proxy) Holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holding > 0
}

func (p *Proxy) hold(asked, answers bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.holdAsked, l.holdAnswers = asked, answers
	}
	p.changed.Broadcast()
}

// link is a connection and the one that it is passed on to.
type link struct {
	client, server         net.Conn
	holdAsked, holdAnswers bool
	ended                  bool
}

// pass copies in both directions until one side ends.
func (p *Proxy) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	l := &link{client: client, server: server}
	defer p.end(l)
	if !p.keep(l) {
		return
	}
	var copying sync.WaitGroup
	copying.Go(func() { p.copy(l, server, client, &l.holdAsked) })
	copying.Go(func() { p.copy(l, client, server, &l.holdAnswers) })
	copying.Wait()
}

// copy passes on what from says, except while it is held.
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

// mayPass waits while a direction is held, and reports whether there still is a
// link.
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

func (p *Proxy) keep(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l] = struct{}{}
	return !p.down
}

// end closes both sides.
func (p *Proxy) end(l *link) {
	_, _ = l.client.Close(), l.server.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	l.ended = true
	delete(p.links, l)
	p.changed.Broadcast()
}
