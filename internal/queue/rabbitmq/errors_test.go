package rabbitmq_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/rabbitmq"
)

var errTest = errors.New("it fails in this test")

// misconfigured checks that an error wraps queue.ErrMisconfigured, says what it must,
// and doesn't contain the password of the tests.
func misconfigured(f *fixture, err error, says string) {
	f.Helper()
	if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), password) {
		f.Errorf("got %v", err)
	}
}

const password = "se%23cret"

// testPermissions: the error says how to grant what is missing, and that is enough.
func testPermissions(f *fixture) {
	user := f.prefix
	f.server.Ctl("add_user", user, "se#cret")
	url := "amqp://" + user + ":" + password + "@" + strings.TrimPrefix(f.server.URL(), "amqp://guest:guest@")
	vhost := "other-" + f.prefix
	prepare := func(url string) error {
		return f.open(url).Prepare(f.within(patience), []string{"stock"})
	}

	misconfigured(f, prepare(strings.Replace(url, password, password+"x", 1)), "check user and password")
	misconfigured(f, prepare(url+"?auth_mechanism=external"), "RABBITMQ_URL")
	misconfigured(f, prepare(url+"/"+vhost), "rabbitmqctl add_vhost '"+vhost+"'")
	f.server.Ctl("add_vhost", vhost)
	err := prepare(url + "/" + vhost)
	misconfigured(f, err, "rabbitmqctl set_permissions -p '"+vhost+"'")
	f.server.Ctl("set_permissions", "-p", vhost, user, "", "", "")
	err = prepare(url + "/" + vhost)
	misconfigured(f, err, "permit the queues")

	command := regexp.MustCompile(`rabbitmqctl (set_permissions .*)`).FindStringSubmatch(err.Error())
	if command == nil {
		f.Fatal("no command")
	}
	words, failure := exec.Command("sh", "-c", `printf '%s\n' `+command[1]).Output() // unquotes them
	if failure != nil {
		f.Fatal(failure)
	}
	f.server.Ctl(strings.Split(strings.TrimSpace(string(words)), "\n")...)
	f.transport = f.open(url + "/" + vhost)
	f.prepare()
	f.publish(1)
	deliveries := make(chan queue.Incoming, 1)
	f.consume(f.transport, 1, func(in queue.Incoming) error { deliveries <- in; return nil })
	next(f, deliveries)

	// Each call says it. Channels that are open keep what they were permitted.
	f.server.Ctl("set_permissions", "-p", vhost, user, "", "", "")
	misconfigured(f, f.open(url+"/"+vhost).Publish(f.within(patience), "stock", queue.Outgoing{ID: "x"}), "permit the queues")
	misconfigured(f, f.consume(f.transport, 1, nil).result(), "permit the queues")
}

// testOtherArguments: a queue that was created differently is left as it is.
func testOtherArguments(f *fixture) {
	conn, err := amqp.Dial(f.server.URL())
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := channel.QueueDeclare(f.queue(), true, false, false, false, nil); err != nil {
		f.Fatal(err)
	}
	misconfigured(f, f.transport.Prepare(f.within(patience), []string{"stock"}), "queue '"+f.queue()+"' in vhost '/'")
	f.server.Ctl("delete_queue", f.queue())
	f.prepare()
}

// testUnreachable: that a server can't be reached now isn't a fault of the settings.
func testUnreachable(f *fixture) {
	transport := f.open("amqp://guest:" + password + "@127.0.0.1:1")
	for _, err := range []error{
		transport.Prepare(f.within(patience), []string{"stock"}),
		transport.Publish(f.within(patience), "stock", queue.Outgoing{}),
		transport.Consume(f.within(patience), "stock", 1, nil),
	} {
		if err == nil || errors.Is(err, queue.ErrMisconfigured) || strings.Contains(err.Error(), password) {
			f.Errorf("got %v", err)
		}
	}
}

// testTLS: amqps is used with certificates of one's own, and checks them.
func testTLS(f *fixture) {
	https := httptest.NewTLSServer(nil) // for its certificate
	defer https.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: https.TLS.Certificates})
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	backend := strings.TrimPrefix(f.server.URL(), "amqp://guest:guest@")
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(client, backend)
		}
	}()
	ca := filepath.Join(f.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw}), 0o600); err != nil {
		f.Fatal(err)
	}
	url := "amqps://guest:guest@" + listener.Addr().String() + "/"
	misconfigured(f, f.open(url).Prepare(f.within(patience), []string{"stock"}), "cacertfile=PATH")
	misconfigured(f, f.open(url+"?cacertfile=/nowhere").Prepare(f.within(patience), []string{"stock"}), "/nowhere")
	f.transport = f.open(url + "?cacertfile=" + ca)
	f.prepare()
	f.publish(1)
	f.awaitWaiting(1)
	f.transport.Close()
}

// forward copies between a client and a server until one of them ends.
func forward(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
	_, _ = io.Copy(client, server)
}

func TestNew(t *testing.T) {
	for _, url := range []string{"", "localhost:5672", "http://u:secret@h", "amqp://u:secret%zz@h", "amqp://u:secret/x@h", "amqp://u:secret#x@h:1", "amqp://u:secret@h:port"} {
		transport, err := rabbitmq.New(url, "p")
		if err == nil || transport != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
