package workers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wneessen/go-mail"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

var sender = &netmail.Address{Name: "Shop", Address: "shop@shop.example"}

// sample is an email about an order.
func sample(t *testing.T) *mail.Msg {
	t.Helper()
	m, _, err := compose(models.Order{ID: "ord_1", Status: models.OrderConfirmed, Email: "a@example.com"}, sender)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mailerTo returns a mailer to a test server. It accepts a connection without TLS.
func mailerTo(t *testing.T, s *testkit.MailServer) *SMTP {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return &SMTP{Host: host, Port: n, Plaintext: true}
}

func isPermanent(err error) bool {
	return err != nil && strings.HasSuffix(typeName(err), "permanentError")
}

func TestSMTP_Send(t *testing.T) {
	type server = testkit.MailServer
	for name, test := range map[string]struct {
		before    func(*server)
		want      string // part of the error; empty: none
		permanent bool
		received  int
	}{
		"accepted":               {func(*server) {}, "", false, 1},
		"unknown recipient":      {func(s *server) { s.Refuse(testkit.StepRecipient, 550) }, "550", true, 0},
		"recipient, later":       {func(s *server) { s.Refuse(testkit.StepRecipient, 452) }, "452", false, 0},
		"content refused":        {func(s *server) { s.Refuse(testkit.StepContent, 554) }, "554", true, 0},
		"content, later":         {func(s *server) { s.Refuse(testkit.StepContent, 451) }, "451", false, 0},
		"stopped":                {func(s *server) { s.Stop() }, "connection refused", false, 0},
		"hangs at the recipient": {func(s *server) { s.Hang(testkit.StepRecipient) }, "deadline exceeded", false, 0},
		"hangs at the content":   {func(s *server) { s.Hang(testkit.StepContent) }, "deadline exceeded", false, 0},
		"accepts, and hangs":     {func(s *server) { s.Hang(testkit.StepAccepted) }, "deadline exceeded", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := testkit.NewMailServer(t)
			mailer := mailerTo(t, s)
			test.before(s)
			ctx := t.Context()
			if test.want == "deadline exceeded" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			err := mailer.Send(ctx, sample(t))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || isPermanent(err) != test.permanent {
				t.Errorf("got error %v, permanent %v; want %q, %v", err, isPermanent(err), test.want, test.permanent)
			}
			if got := s.Received(); len(got) != test.received {
				t.Errorf("got emails %+v; want %d", got, test.received)
			}
		})
	}
}

// A server that doesn't even greet.
func TestSMTP_Send_silent_server(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for name, mailer := range map[string]*SMTP{
		"SMTP": {Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, Plaintext: true},
		"TLS":  {Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, ImplicitTLS: true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := mailer.Send(ctx, sample(t)); err == nil || !strings.Contains(err.Error(), "deadline exceeded") || isPermanent(err) {
			t.Errorf("%s: got error %v", name, err)
		}
		cancel()
	}
}

func TestSMTP_Send_TLS(t *testing.T) {
	issuer := httptest.NewTLSServer(nil) // for its certificate, which is for 127.0.0.1
	issuer.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(issuer.Certificate())
	withTLS := func(s *testkit.MailServer) { s.TLS = &tls.Config{Certificates: issuer.TLS.Certificates} }
	implicit := func(s *testkit.MailServer) { withTLS(s); s.ImplicitTLS = true }
	protected := func(s *testkit.MailServer) { s.User, s.Password = "shop", "hunter2" }
	for name, test := range map[string]struct {
		server func(*testkit.MailServer)
		mailer SMTP
		want   string // part of the error; empty: none
	}{
		"STARTTLS":                     {withTLS, SMTP{RootCAs: trusted}, ""},
		"STARTTLS is not offered":      {func(*testkit.MailServer) {}, SMTP{RootCAs: trusted}, "does not support STARTTLS"},
		"plaintext is allowed":         {func(*testkit.MailServer) {}, SMTP{Plaintext: true}, ""},
		"TLS if offered":               {withTLS, SMTP{Plaintext: true}, "unknown authority"},
		"unknown authority":            {withTLS, SMTP{}, "unknown authority"},
		"implicit":                     {implicit, SMTP{ImplicitTLS: true, RootCAs: trusted}, ""},
		"implicit, unknown authority":  {implicit, SMTP{ImplicitTLS: true}, "unknown authority"},
		"password":                     {func(s *testkit.MailServer) { withTLS(s); protected(s) }, SMTP{RootCAs: trusted, User: "shop", Password: "hunter2"}, ""},
		"password, implicit":           {func(s *testkit.MailServer) { implicit(s); protected(s) }, SMTP{ImplicitTLS: true, RootCAs: trusted, User: "shop", Password: "hunter2"}, ""},
		"wrong password":               {func(s *testkit.MailServer) { withTLS(s); protected(s) }, SMTP{RootCAs: trusted, User: "shop", Password: "hunter22"}, "535"},
		"no password":                  {func(s *testkit.MailServer) { withTLS(s); protected(s) }, SMTP{RootCAs: trusted}, "502"},
		"never a password without TLS": {protected, SMTP{Plaintext: true, User: "shop", Password: "hunter2"}, "AUTH"},
	} {
		t.Run(name, func(t *testing.T) {
			s := testkit.NewMailServer(t, test.server)
			mailer, address := test.mailer, mailerTo(t, s)
			mailer.Host, mailer.Port = address.Host, address.Port
			checked := mailer.Check(t.Context())
			err := mailer.Send(t.Context(), sample(t))
			if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2")) || isPermanent(err) {
				t.Errorf("got error %v; want %q", err, test.want)
			}
			if (checked == nil) != (err == nil) && name != "no password" {
				t.Errorf("check: got error %v", checked)
			}
			if (len(s.Received()) == 1) != (test.want == "") {
				t.Errorf("got emails %+v", s.Received())
			}
		})
	}
}

func TestMailFolder_Send(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "mail")
	for range 2 { // the second time it is the same file
		if err := MailFolder(dir).Send(t.Context(), sample(t)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "ord_1.confirmed@shop.example.eml" {
		t.Fatalf("got files %v, error %v", files, err)
	}
	info, err := files[0].Info()
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got mode %v, error %v", info.Mode(), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	if err != nil || !strings.Contains(string(text), "Subject: Your order ord_1 is confirmed\r\n") {
		t.Errorf("got %s, error %v", text, err)
	}
}
