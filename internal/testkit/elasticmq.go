package testkit

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	// elasticMQ is the folder in .tools that scripts/install-elasticmq.sh makes.
	elasticMQ = "elasticmq-1.7.1"
	// elasticMQTimeout bounds a start, which takes 3 s on an idle machine.
	elasticMQTimeout = 60 * time.Second
	// elasticMQConfig makes all that was answered survive a SIGKILL: the database H2
	// writes at each commit, without its usual delay.
	elasticMQConfig = `include classpath("application.conf")
node-address { protocol = http, host = "%[1]s", port = %[2]s, context-path = "" }
rest-sqs { enabled = true, bind-hostname = "%[1]s", bind-port = %[2]s, sqs-limits = strict }
rest-stats { enabled = false }
messages-storage { enabled = true, uri = "jdbc:h2:%[3]s;WRITE_DELAY=0" }
aws { region = us-east-1, accountId = 000000000000 }
`
)

// ElasticMQServer is a process of ElasticMQ, which speaks the protocol of SQS. It
// keeps its address and its queues when it is started again. Clients reach it through
// a proxy that lets nobody in before the queues are there: it answers earlier, and
// then forgets the messages of a queue that is created in the meantime.
type ElasticMQServer struct {
	process

	address string
	proxy   *Proxy
}

// markerQueue is created first, and so it is there first after a start.
const markerQueue = "marker"

// ElasticMQ starts an ElasticMQ that is empty. It is stopped at the end of the test.
// If it is not installed, the test fails when REQUIRE_REAL_SERVICES is 1 and is
// skipped otherwise.
func ElasticMQ(t testing.TB) *ElasticMQServer {
	t.Helper()
	java, jars := findElasticMQ(t)
	s := &ElasticMQServer{process: process{t: t, name: "ElasticMQ", program: java, folder: serverFolder(t)}, address: LoopbackAddress(t)}
	s.proxy = NewProxy(t, s.address)
	// A copy: nobody can't enter the folder of the repository if root's home holds it.
	if err := os.CopyFS(filepath.Join(s.folder, "jars"), os.DirFS(jars)); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(s.address)
	config := filepath.Join(s.folder, "elasticmq.conf")
	text := fmt.Sprintf(elasticMQConfig, host, port, filepath.Join(s.folder, "messages"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "HOME="+s.folder)
	s.args = []string{
		"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Dconfig.file=" + config,
		"-cp", filepath.Join(s.folder, "jars", "*"), "org.elasticmq.server.Main",
	}
	t.Cleanup(s.stop)
	s.launchAndWait(func() error { return s.ask("/", "Action", "CreateQueue", "QueueName", markerQueue) })
	s.Settle()
	return s
}

// Endpoint returns the server's URL.
func (s *ElasticMQServer) Endpoint() string { return "http://" + s.proxy.Addr() }

// Start starts the server again after Kill and waits until it serves.
func (s *ElasticMQServer) Start() {
	s.t.Helper()
	s.launchAndWait(func() error { return s.ask("/", "Action", "GetQueueUrl", "QueueName", markerQueue) })
}

// launchAndWait starts the server, and lets clients in when ready returns nil.
func (s *ElasticMQServer) launchAndWait(ready func() error) {
	s.t.Helper()
	s.proxy.Cut()
	s.launch()
	s.awaitReady(elasticMQTimeout, ready)
	s.proxy.Mend()
}

// Settle waits until the queues that were created survive a Kill. They are written
// after the answer, and before the message of a later call.
func (s *ElasticMQServer) Settle() {
	s.t.Helper()
	if err := s.ask("/000000000000/"+markerQueue, "Action", "SendMessage", "MessageBody", "settled"); err != nil {
		s.t.Fatal(err)
	}
}

// ask calls the server with pairs of names and values.
func (s *ElasticMQServer) ask(path string, parameters ...string) error {
	query := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + s.address + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %s", parameters[1], response.Status)
	}
	return nil
}

// findElasticMQ returns Java and the folder of the server's jars.
func findElasticMQ(t testing.TB) (java, jars string) {
	t.Helper()
	java, err := exec.LookPath("java")
	if err == nil {
		if jars, err = inRepository(filepath.Join(".tools", elasticMQ)); err == nil {
			return java, jars
		}
	}
	missing := fmt.Sprintf("NOT RUN: this test needs ElasticMQ; scripts/install-elasticmq.sh installs it (%v)", err)
	if os.Getenv("REQUIRE_REAL_SERVICES") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return "", ""
}

// inRepository returns the absolute path of a file of the repository. The working
// directory of a test is the folder of its package.
func inRepository(name string) (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			path := filepath.Join(folder, name)
			_, err := os.Stat(path)
			return path, err
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", fmt.Errorf("%s: %w", name, os.ErrNotExist)
		}
		folder = parent
	}
}
