package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// kafkaTimeout bounds the start of Kafka: 4 s on an idle machine, and longer after
	// a Kill, because the controller waits until the session of the killed broker ends.
	kafkaTimeout = 90 * time.Second
	kafkaVersion = "4.3.1" // of scripts/install-kafka.sh
	// kafkaConfig is the configuration of a broker that is its own controller. {plain}
	// and {controller} are its addresses.
	kafkaConfig = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAIN://{plain},CONTROLLER://{controller}
advertised.listeners=PLAIN://{plain}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.network.threads=1
num.io.threads=2
log.cleaner.dedupe.buffer.size=8388608
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
`
)

// KafkaServer is one broker of Apache Kafka, with addresses and a folder that it
// keeps.
type KafkaServer struct {
	process

	address string
}

// Kafka starts a broker. Settings are further lines of its configuration: the last of
// a name wins, and {plain} and {controller} are the addresses of its listeners. The
// broker is stopped at the end of the test. If it is not installed,
// the test fails when REQUIRE_REAL_SERVICES is 1 and is skipped otherwise.
func Kafka(t testing.TB, settings ...string) *KafkaServer {
	t.Helper()
	java, jars := findKafka(t)
	s := &KafkaServer{process{t: t, name: "Kafka", program: java, folder: serverFolder(t)}, LoopbackAddress(t)}
	// The account of the server may not be able to read the repository.
	if err := os.CopyFS(filepath.Join(s.folder, "jars"), os.DirFS(jars)); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(s.folder, "server.properties")
	text := strings.NewReplacer("{plain}", s.address, "{controller}", LoopbackAddress(t), "{folder}", s.folder).
		Replace(kafkaConfig + strings.Join(settings, "\n") + "\n")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "HOME="+s.folder)
	s.args = []string{
		"-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(s.folder, "jars") + "/*",
	}
	s.format(config)
	s.args = append(s.args, "kafka.Kafka", config)
	t.Cleanup(s.stop)
	s.Start()
	return s
}

// format prepares the folder of the data.
func (s *KafkaServer) format(config string) {
	s.t.Helper()
	s.launch("kafka.tools.StorageTool", "format", "--cluster-id", "cmF0ZWxpbWl0ZXItdGVzdA", "--config", config)
	format := s.cmd
	s.cmd = nil
	if err := format.Wait(); err != nil {
		output, _ := os.ReadFile(filepath.Join(s.folder, "output"))
		s.t.Fatalf("format the folder of Kafka: %v\n%s", err, output)
	}
}

// Address returns host and port of the broker.
func (s *KafkaServer) Address() string { return s.address }

// Start starts the broker again after Kill and waits until it serves.
func (s *KafkaServer) Start() {
	s.t.Helper()
	s.launch()
	s.awaitReady(kafkaTimeout, s.serves)
}

// serves returns nil if the broker has joined its cluster.
func (s *KafkaServer) serves() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.address), kgo.DisableClientMetrics(), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err == nil && len(brokers) == 0 {
		err = errors.New("no broker is in the cluster")
	}
	return err
}

// findKafka returns the program java and the folder with Kafka's jars.
func findKafka(t testing.TB) (java, jars string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	jars = filepath.Join(filepath.Dir(here), "../../.tools/kafka-"+kafkaVersion)
	java, err := exec.LookPath("java")
	if _, missing := os.Stat(jars); err != nil || missing != nil {
		text := fmt.Sprintf("NOT RUN: this test needs Kafka; scripts/install-kafka.sh installs it (%v)", errors.Join(err, missing))
		if os.Getenv("REQUIRE_REAL_SERVICES") == "1" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	return java, jars
}
