package queuetest

import (
	"bufio"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// proof runs publishers and workers as processes of their own on a Postgres with
// fsync, and is the observer outside of it: what was acknowledged and mailed is
// in its memory.
type proof struct {
	*testing.T
	cluster *testkit.DurableCluster
	db      *pgxpool.Pool
	broker  *Broker // nil: none
	prefix  string  // of the broker's queues
	fault   string  // that the processes have; "": none

	transport queue.Transport // looks at the broker; nil: none

	mu           sync.Mutex
	acknowledged map[string]bool
	mailed       map[string]int
	todo         []string            // changes to ask for
	children     map[string][]*child // running, by role
	ending       bool

	running sync.WaitGroup
	changed *sync.Cond // of what mu guards
}

// child is a process.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

const proofTables = `
	CREATE TABLE IF NOT EXISTS proof_changes (message text PRIMARY KEY);
	CREATE TABLE IF NOT EXISTS proof_effects (message text, attempt int, failures int);
	TRUNCATE proof_changes, proof_effects, river_job, dead_letters, queue_inbox`

// newProof starts a proof in the empty tables of a cluster.
func newProof(t *testing.T, cluster *testkit.DurableCluster, b *Broker, fault string) *proof {
	p := &proof{T: t, cluster: cluster, broker: b, prefix: newPrefix(), fault: fault, children: map[string][]*child{}}
	p.changed = sync.NewCond(&p.mu)
	var err error
	if p.db, err = testkit.OpenAddressFile(p.cluster.AddressFile); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.db.Close)
	p.reset()
	if b != nil {
		p.transport = b.prepare(t, p.prefix, slices.Sorted(maps.Keys(proofHandlers())))
	}
	return p
}

// reset forgets all messages.
func (p *proof) reset() {
	p.acknowledged, p.mailed = map[string]bool{}, map[string]int{}
	if _, err := p.db.Exec(p.Context(), proofTables); err != nil {
		p.Fatal(err)
	}
}

// start starts a child.
func (p *proof) start(role string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program) //nolint:noctx // the proof kills it
	cmd.Env = append(os.Environ(), childRole+"="+role, childFault+"="+p.fault, childDatabase+"="+p.cluster.AddressFile,
		childPrefix+"="+p.prefix, "GORACE=atexit_sleep_ms=0")
	if p.broker != nil {
		cmd.Env = append(cmd.Env, childBroker+"="+p.broker.Address)
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &child{cmd, in, bufio.NewScanner(out)}, cmd.Start()
}

// keep runs a child, and another one when it was killed, until the end. use talks
// to it until its output ends.
func (p *proof) keep(role string, use func(*child)) {
	p.running.Go(func() {
		for {
			p.mu.Lock()
			if p.ending {
				p.mu.Unlock()
				return
			}
			c, err := p.start(role)
			if err != nil {
				p.mu.Unlock()
				p.Error(err)
				return
			}
			p.children[role] = append(p.children[role], c)
			p.mu.Unlock()
			use(c)
			_ = c.in.Close()
			_ = c.cmd.Wait() // it says how it was killed
			p.mu.Lock()
			for i, other := range p.children[role] {
				if other == c {
					p.children[role] = append(p.children[role][:i], p.children[role][i+1:]...)
					break
				}
			}
			p.mu.Unlock()
		}
	})
}

// publisher asks a child for one change after the other. One that wasn't
// acknowledged is asked for again.
func (p *proof) publisher(c *child) {
	for {
		p.mu.Lock()
		for !p.ending && (len(p.todo) == 0 || len(p.acknowledged)-len(p.mailed) > *proofMessages/4) {
			p.changed.Wait()
		}
		if p.ending {
			p.mu.Unlock()
			return
		}
		n := p.todo[len(p.todo)-1]
		p.todo = p.todo[:len(p.todo)-1]
		p.mu.Unlock()
		_, err := io.WriteString(c.in, n+"\n")
		if err != nil || !p.awaitAck(c) {
			p.mu.Lock()
			p.todo = append(p.todo, n)
			p.mu.Unlock()
			return
		}
	}
}

// awaitAck reads a line, and reports whether there was one.
func (p *proof) awaitAck(c *child) bool {
	if !c.out.Scan() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := strings.TrimPrefix(c.out.Text(), "acknowledged ")
	if !p.acknowledged[n] && rand.IntN(50) == 0 {
		p.todo = append(p.todo, n) // as if the reply had been lost
	}
	p.acknowledged[n] = true
	p.changed.Broadcast()
	return true
}

// worker notes what a child mails.
func (p *proof) worker(c *child) {
	for c.out.Scan() {
		p.mu.Lock()
		p.mailed[strings.TrimPrefix(c.out.Text(), "mailed ")]++
		p.changed.Broadcast()
		p.mu.Unlock()
	}
}

// kill kills one child of a role.
func (p *proof) kill(role string) {
	for {
		p.mu.Lock()
		all := p.children[role]
		if len(all) > 0 {
			_ = all[rand.IntN(len(all))].cmd.Process.Kill()
		}
		p.mu.Unlock()
		if len(all) > 0 {
			return
		}
		time.Sleep(time.Millisecond) // it is being started
	}
}

// end ends all children in order.
func (p *proof) end() {
	p.mu.Lock()
	p.ending = true
	for _, all := range p.children {
		for _, c := range all {
			_ = c.in.Close()
		}
	}
	p.changed.Broadcast()
	p.mu.Unlock()
	p.running.Wait()
	p.ending = false
}

// awaitMails waits until workers are at work, so that a kill meets deliveries. It
// waits some seconds at most, because messages may be lost.
func (p *proof) awaitMails() {
	mails := func() (n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, times := range p.mailed {
			n += times
		}
		return n
	}
	before := mails()
	for deadline := time.Now().Add(5 * time.Second); mails() < before+5 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// await waits until the observer has seen enough.
func (p *proof) await(enough func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !enough() {
		p.changed.Wait()
	}
}

// run publishes messages under kills of each role, at random moments but evenly
// over all messages.
func (p *proof) run(messages int, kills map[string]int) {
	for n := range messages {
		p.todo = append(p.todo, strconv.Itoa(n))
	}
	for range 2 {
		p.keep("publisher", p.publisher)
		p.keep("worker", p.worker)
	}
	var victims []string
	for role, n := range kills {
		for range n {
			victims = append(victims, role)
		}
	}
	rand.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	step := messages / (len(victims) + 1)
	for i, role := range victims {
		at := i*step + rand.IntN(step) + 1
		p.await(func() bool { return len(p.acknowledged) >= at })
		switch role {
		case "postgres":
			if err := p.cluster.Kill(); err != nil {
				p.Fatal(err)
			}
		case "broker":
			p.broker.Server.Kill()
			p.broker.Server.Start()
		case "worker":
			p.awaitMails()
			p.kill(role)
		default:
			p.kill(role)
		}
	}
	p.await(func() bool { return len(p.acknowledged) == messages && len(p.todo) == 0 })
}
