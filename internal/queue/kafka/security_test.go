package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// kmsgDynamicTopic is the source of a setting that a topic has itself.
const kmsgDynamicTopic = kmsg.ConfigSourceDynamicTopicConfig

// password contains what must be encoded.
const password, encodedPassword = "se:cr@t/", "se%3Acr%40t%2F"

// security is a listener with TLS and accounts.
type security struct {
	address string // has a certificate that is trusted
	keys    string // in PEM, with it
}

// newSecurity makes this process trust a new certificate.
func newSecurity(t *testing.T) *security {
	t.Helper()
	s := &security{address: testkit.LoopbackAddress(t)}
	host, _, _ := net.SplitHostPort(s.address)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafka"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(host)},
		IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	s.keys = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	file := filepath.Join(t.TempDir(), "certificates")
	write(t, file, public)
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	s.keys = "ssl.keystore.key=" + strings.ReplaceAll(s.keys, "\n", `\n`) + "\nssl.keystore.certificate.chain=" + strings.ReplaceAll(public, "\n", `\n`)
	return s
}

// settings returns lines for the configuration of a broker. Its other listener gives
// all rights to everybody.
func (s *security) settings() []string {
	return []string{
		"listeners=PLAIN://{plain},SECURE://" + s.address + ",CONTROLLER://{controller}",
		"advertised.listeners=PLAIN://{plain},SECURE://" + s.address,
		"listener.security.protocol.map=PLAIN:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
		"ssl.keystore.type=PEM", s.keys,
		"listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
		"listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
		`listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="` + password + `";`,
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS",
	}
}

// addUser adds an account.
func (f *fixture) addUser(t *testing.T, name string) {
	t.Helper()
	added, err := f.admin(t).AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}})
	if err == nil {
		err = added.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// allow allows a user operations on topics or groups with the prefix of the test.
func (f *fixture) allow(t *testing.T, user string, b *kadm.ACLBuilder, operations ...kadm.ACLOperation) {
	t.Helper()
	b = b.Allow("User:" + user).AllowHosts().Operations(operations...).ResourcePatternType(kadm.ACLPatternPrefixed)
	created, err := f.admin(t).CreateACLs(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range created {
		if c.Err != nil {
			t.Fatal(c.Err)
		}
	}
}

// try prepares a transport, and publishes and consumes a message.
func try(t *testing.T, address, prefix string) error {
	t.Helper()
	transport, err := newTransport(address, prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := transport.Prepare(ctx, []string{group}); err != nil {
		return err
	}
	if err := transport.Publish(ctx, group, queue.Outgoing{ID: "m", Body: []byte("{}")}); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return transport.Consume(ctx, group, 1, func(queue.Incoming) error { stop(); return nil })
}

// testPermissions: each missing permission is reported by Prepare, until the last is
// there.
func (f *fixture) testPermissions(t *testing.T) {
	f.addUser(t, "worker")
	prefix := prefixOf(t)
	address := "tls://worker:" + encodedPassword + "@" + f.secure.address
	transport, err := newTransport(address, prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	for _, step := range []struct {
		says  string
		grant func()
	}{
		{"allow the user READ, WRITE and DESCRIBE on the topics", func() { f.allow(t, "worker", kadm.NewACLs().Topics(prefix).Groups(prefix), kadm.OpDescribe) }},
		{"CREATE", func() { f.allow(t, "worker", kadm.NewACLs().Topics(prefix), kadm.OpCreate) }},
		{"allow the user READ on it", func() { f.allow(t, "worker", kadm.NewACLs().Topics(prefix), kadm.OpRead) }},
		{"allow the user WRITE on it", func() { f.allow(t, "worker", kadm.NewACLs().Topics(prefix), kadm.OpWrite) }},
		{"allow the user READ on the consumer groups", func() { f.allow(t, "worker", kadm.NewACLs().Groups(prefix), kadm.OpRead) }},
	} {
		var err error
		testkit.Await(t, patience, step.says, func() bool { // a permission takes effect a little later
			err = transport.Prepare(t.Context(), []string{group})
			return err == nil || strings.Contains(err.Error(), step.says)
		})
		if !errors.Is(err, queue.ErrMisconfigured) {
			t.Errorf("%s: got %v", step.says, err)
		}
		step.grant()
	}
	testkit.Await(t, patience, "nothing is missing", func() bool { return try(t, address, prefix) == nil })
}

// testSecurity: connections with TLS and passwords, and what is said about the wrong
// ones.
func (f *fixture) testSecurity(t *testing.T) {
	f.addUser(t, "secure")
	prefix := prefixOf(t)
	for _, user := range []string{"secure", "plain"} {
		f.allow(t, user, kadm.NewACLs().Topics(prefix).Groups(prefix), kadm.OpAll)
	}
	// A connection that is closed at once may also be that of a proxy whose broker is
	// down: only a refused password is a wrong setup for certain.
	for name, c := range map[string]struct{ address, says string }{
		"SCRAM":          {"tls://secure:" + encodedPassword + "@" + f.secure.address, ""},
		"PLAIN":          {"tls://plain:" + encodedPassword + "@" + f.secure.address + "?sasl=plain", ""},
		"wrong password": {"tls://secure:topsecret@" + f.secure.address, "check the user and the password"},
		"unknown user":   {"tls://nobody:topsecret@" + f.secure.address + "?sasl=plain", "check the user and the password"},
		"no password":    {"tls://" + f.secure.address, "SASL"},
		"no TLS here":    {"tls://secure:topsecret@" + f.address, "TLS"},
		"TLS is needed":  {f.secure.address, "TLS"},
	} {
		err := try(t, c.address, prefix)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, queue.ErrMisconfigured) != strings.Contains(c.says, "check")):
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		case err != nil && (strings.Contains(err.Error(), "topsecret") || strings.Contains(err.Error(), password)):
			t.Errorf("%s: the error contains the password: %v", name, err)
		}
	}
}

func TestTransport_untrusted_certificate(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	err := try(t, "tls://me:topsecret@"+server.Listener.Addr().String(), "test")
	if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("got %v", err)
	}
}
