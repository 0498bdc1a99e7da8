package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
)

// Server is a private Postgres: a child of this process, or (Attached) another process's.
// Its methods may be called from several goroutines.
type Server struct {
	url  string
	port int

	// nil when attached:
	child     *process
	output    *serverLog
	ownership *Ownership
	folder    *folder

	stop sync.Once
	done chan struct{}

	mu  sync.Mutex
	err error // why the child ended, or what went wrong at its end
}

// URL is the connection string of the product's database, password included: not to be logged.
func (s *Server) URL() string { return s.url }

// Attached tells whether the Postgres belongs to another process, which may stop it at any time.
func (s *Server) Attached() bool { return s.child == nil }

// Done is closed when the child has ended, whether it was stopped or crashed; Err says which. For
// an attached server it is closed by Stop alone.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err tells why the server ended: nil before that and after an orderly Stop, else an error with
// the last lines of its log.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail adds to what went wrong.
func (s *Server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
}

// Stop ends the server with a fast shutdown (open transactions are rolled back), waits for its end
// and gives DATA_DIR up. When the context ends first, the server is killed: nothing committed is
// lost, and the next start recovers. An attached server is left as it is. Further calls wait for
// the first one and return what it found.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		if s.Attached() {
			close(s.done)
			return
		}
		s.child.signal(syscall.SIGINT)
		select {
		case <-s.done:
		case <-ctx.Done():
			s.child.kill()
			<-s.done
			s.fail(fmt.Errorf("the private Postgres did not stop in time and was killed: %w", ctx.Err()))
		}
		if err := errors.Join(s.folder.close(), s.ownership.Release()); err != nil {
			s.fail(fmt.Errorf("give DATA_DIR up: %w", err))
		}
	})
	return s.Err()
}

// watch notices the child's end.
func (s *Server) watch() {
	<-s.child.done
	if s.child.err != nil {
		s.fail(fmt.Errorf("the private Postgres ended: %w\n%s", s.child.err, s.output.tail()))
	}
	close(s.done)
}
