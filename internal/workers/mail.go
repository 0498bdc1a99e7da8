package workers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"ratelimiter/internal/queue"
)

const (
	// mailTimeout bounds sending one email, from the connection to the last reply. It
	// leaves the rest of the queue's 5 s to the effect.
	mailTimeout = 4 * time.Second
	// quitTimeout bounds the end of a session, which nothing depends on.
	quitTimeout = 500 * time.Millisecond
)

// SMTP sends emails to an SMTP server, each on a connection of its own. With a
// user it authenticates, with a password only on an encrypted connection.
type SMTP struct {
	Host           string
	Port           int
	User, Password string         // empty: no authentication
	ImplicitTLS    bool           // TLS from the start; otherwise STARTTLS
	Plaintext      bool           // accept a server that doesn't offer STARTTLS
	RootCAs        *x509.CertPool // nil: the system's
}

// Send implements Mailer. A rejection of the recipient or of the content (5xx) is
// permanent; any other error may be resolved by a retry.
func (s *SMTP) Send(ctx context.Context, m *mail.Msg) error {
	err := s.session(ctx, func(client *mail.Client, session *smtp.Client) error {
		return client.SendWithSMTPClient(session, m)
	})
	if rejected, ok := errors.AsType[*mail.SendError](err); ok && rejected.ErrorCode() >= 500 &&
		(rejected.Reason == mail.ErrSMTPRcptTo || rejected.Reason == mail.ErrSMTPDataClose) {
		return queue.Permanent(err)
	}
	return err
}

// Check connects, authenticates and ends the session.
func (s *SMTP) Check(ctx context.Context) error {
	return s.session(ctx, func(*mail.Client, *smtp.Client) error { return nil })
}

// session opens a session and calls do. It ends the connection in any case, which
// go-mail doesn't.
func (s *SMTP) session(ctx context.Context, do func(*mail.Client, *smtp.Client) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, mailTimeout, fmt.Errorf("the SMTP server took longer than %s", mailTimeout))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // go-mail renews its deadline in each step
	err = s.talk(ctx, conn, do)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// talk is a session on a connection.
func (s *SMTP) talk(ctx context.Context, conn net.Conn, do func(*mail.Client, *smtp.Client) error) error {
	secure, dialed := &tls.Config{ServerName: s.Host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}, conn
	if s.ImplicitTLS {
		dialed = tls.Client(conn, secure) // the first read or write does the handshake
	}
	policy := mail.TLSMandatory
	if s.Plaintext || s.ImplicitTLS {
		policy = mail.TLSOpportunistic
	}
	options := []mail.Option{
		mail.WithTimeout(mailTimeout), mail.WithTLSConfig(secure), mail.WithTLSPolicy(policy), mail.WithoutNoop(), mail.WithoutRset(),
		mail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) { return dialed, nil }),
	}
	if s.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.User), mail.WithPassword(s.Password))
	}
	client, err := mail.NewClient(s.Host, options...)
	if err != nil {
		return err
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return err
	}
	if err := do(client, session); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(quitTimeout))
	_ = session.Quit() // the email is sent already
	return nil
}

// NoMail sends nothing: emails wait, and use up no attempt.
type NoMail struct{}

// noMailDelay is how long an email waits until another instance may have a mail
// server. Each postponed email is a row that is written again.
const noMailDelay = 10 * time.Minute

var errNoMail = errors.New("no mail server is configured")

// Send implements Mailer.
func (NoMail) Send(context.Context, *mail.Msg) error { return queue.Postpone(noMailDelay, errNoMail) }

// MailFolder writes emails to files instead of sending them: NAME.eml, where NAME
// is the Message-ID.
type MailFolder string

// Send implements Mailer. The file appears at once and complete, with mode 0600.
func (dir MailFolder) Send(_ context.Context, m *mail.Msg) error {
	if err := os.MkdirAll(string(dir), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(string(dir), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // fails after the rename
	_, err = m.WriteTo(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(string(dir), strings.Trim(m.GetMessageID(), "<>")+".eml"))
}
