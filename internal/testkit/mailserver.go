package testkit

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/mail"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// MailServer is an SMTP server that keeps what it accepts in memory, also while it
// is stopped. It is safe for concurrent use.
type MailServer struct {
	TLS            *tls.Config // offered by STARTTLS; nil: not offered
	ImplicitTLS    bool        // TLS from the start
	User, Password string      // required if set; only on encrypted connections

	t       testing.TB
	address string // the same after each start

	mu       sync.Mutex
	server   *smtp.Server // nil: stopped
	listener net.Listener
	received []Mail
	refuse   map[Step]*smtp.SMTPError
	hung     map[Step]chan struct{} // closed by Resume
	waiting  int
}

// Mail is a received email.
type Mail struct {
	From, To  string // of the envelope
	MessageID string // with its angle brackets
	Header    mail.Header
	Body      string // encoded as received
}

// Step is a step of receiving an email.
type Step string

// The steps of receiving an email.
const (
	StepRecipient Step = "RCPT TO"
	StepContent   Step = "DATA" // the reply to the whole content
	StepAccepted  Step = "250"  // the email is kept, and the reply is not sent yet
)

// NewMailServer starts an SMTP server on a loopback port until the test ends. The
// options set its exported fields.
func NewMailServer(t testing.TB, options ...func(*MailServer)) *MailServer {
	t.Helper()
	s := &MailServer{t: t, address: "127.0.0.1:0", refuse: map[Step]*smtp.SMTPError{}, hung: map[Step]chan struct{}{}}
	for _, option := range options {
		option(s)
	}
	s.Start()
	t.Cleanup(func() {
		s.Resume()
		s.Stop()
	})
	return s
}

// Addr returns host:port.
func (s *MailServer) Addr() string { return s.address }

// Start serves again after Stop, on the same port.
func (s *MailServer) Start() {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatalf("listen: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address, s.listener = listener.Addr().String(), listener
	if s.ImplicitTLS {
		listener = tls.NewListener(listener, s.TLS)
	}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{server: s}, nil }))
	s.server.Domain, s.server.ErrorLog = "localhost", log.New(io.Discard, "", 0)
	if !s.ImplicitTLS {
		s.server.TLSConfig = s.TLS
	}
	s.server.EnableSMTPUTF8 = true
	server := s.server
	go func() { _ = server.Serve(listener) }() // ends with Stop
}

// Stop closes the port and all connections, as the death of the server does.
func (s *MailServer) Stop() {
	s.mu.Lock()
	server, listener := s.server, s.listener
	s.server = nil
	s.mu.Unlock()
	if server != nil {
		_, _ = listener.Close(), server.Close() // the server may not know its listener yet
	}
}

// Refuse answers a step with this code, such as 452 or 550, until code is 0.
func (s *MailServer) Refuse(step Step, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refuse, step)
	if code != 0 {
		s.refuse[step] = &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: "refused by the test"}
	}
}

// Hang doesn't answer a step until Resume.
func (s *MailServer) Hang(step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung[step] = make(chan struct{})
}

// Hanging returns how many clients wait for an answer.
func (s *MailServer) Hanging() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// Resume answers again.
func (s *MailServer) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for step, done := range s.hung {
		close(done)
		delete(s.hung, step)
	}
}

// Received returns the accepted emails in their order, duplicates included.
func (s *MailServer) Received() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail{}, s.received...)
}

// reach waits while the step hangs and returns its refusal, or nil.
func (s *MailServer) reach(step Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if done := s.hung[step]; done != nil {
		s.waiting++
		s.mu.Unlock()
		<-done
		s.mu.Lock()
		s.waiting--
	}
	if refusal := s.refuse[step]; refusal != nil {
		return refusal
	}
	return nil
}

// mailSession is the connection of one client.
type mailSession struct {
	server     *MailServer
	authorized bool
	mail       Mail
}

// AuthMechanisms implements smtp.AuthSession.
func (s *mailSession) AuthMechanisms() []string {
	if s.server.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

// Auth implements smtp.AuthSession.
func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.authorized = user == s.server.User && password == s.server.Password
		if !s.authorized {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

// Mail implements smtp.Session.
func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.User != "" && !s.authorized {
		return smtp.ErrAuthRequired
	}
	s.mail = Mail{From: from}
	return nil
}

// Rcpt implements smtp.Session.
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.To = to
	return s.server.reach(StepRecipient)
}

// Data implements smtp.Session.
func (s *mailSession) Data(r io.Reader) error {
	message, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(message.Body)
	if err != nil {
		return err
	}
	if err := s.server.reach(StepContent); err != nil {
		return err
	}
	s.mail.MessageID, s.mail.Header, s.mail.Body = message.Header.Get("Message-ID"), message.Header, string(body)
	s.server.mu.Lock()
	stopped := s.server.server == nil
	if !stopped {
		s.server.received = append(s.server.received, s.mail)
	}
	s.server.mu.Unlock()
	if stopped {
		return &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "stopped"}
	}
	return s.server.reach(StepAccepted)
}

// Reset implements smtp.Session.
func (s *mailSession) Reset() { s.mail = Mail{} }

// Logout implements smtp.Session.
func (*mailSession) Logout() error { return nil }
