package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// rabbitTimeout bounds a start of RabbitMQ, which takes 5 s on an idle machine.
	rabbitTimeout = 2 * time.Minute
	// rabbitStarted is the line of the log after which all is served.
	rabbitStarted = "Server startup complete"
	// rabbitConfig needs little memory and disk.
	rabbitConfig = "loopback_users.guest = false\nlog.console = false\nlog.file.level = info\nlog.file = rabbit.log\n" +
		"disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 512MB\n"
)

// RabbitServer is one node of RabbitMQ, with ports and a folder that it keeps.
type RabbitServer struct {
	process

	address string
	names   process // epmd, which nodes and their tools find each other by
	tools   string  // folder of rabbitmqctl
}

// RabbitMQ starts RabbitMQ. It is stopped at the end of the test. If RabbitMQ is not
// installed, the test fails when REQUIRE_REAL_SERVICES is 1 and is skipped otherwise.
func RabbitMQ(t testing.TB) *RabbitServer {
	t.Helper()
	tools := findRabbitMQ(t)
	folder := serverFolder(t)
	s := &RabbitServer{
		process: process{t: t, name: "RabbitMQ", program: filepath.Join(tools, "rabbitmq-server"), folder: folder},
		address: LoopbackAddress(t),
		tools:   tools,
	}
	host, port, _ := strings.Cut(s.address, ":")
	nodePort, namesPort := lowPort(t), lowPort(t)
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "HOME=" + folder,
		"ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + namesPort,
		"RABBITMQ_NODENAME=test" + port + "@localhost", "RABBITMQ_NODE_IP_ADDRESS=" + host, "RABBITMQ_NODE_PORT=" + port, "RABBITMQ_DIST_PORT=" + nodePort,
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(folder, "data"), "RABBITMQ_LOG_BASE=" + folder, "RABBITMQ_GENERATED_CONFIG_DIR=" + filepath.Join(folder, "generated"),
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(folder, "rabbitmq"), "RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(folder, "plugins"), "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none", "RABBITMQ_CTL_ERL_ARGS=+S 1:1",
	}
	for name, text := range map[string]string{"rabbitmq.conf": rabbitConfig, "plugins": "[]."} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.names = process{t: t, name: "epmd", program: "epmd", env: s.env, folder: folder}
	t.Cleanup(s.names.stop)
	s.names.launch()
	t.Cleanup(s.stop)
	s.Start()
	return s
}

// URL returns the server's URL with a user that may do everything.
func (s *RabbitServer) URL() string { return "amqp://guest:guest@" + s.address }

// Start starts the server again after Kill and waits until it serves.
func (s *RabbitServer) Start() {
	s.t.Helper()
	log := filepath.Join(s.folder, "rabbit.log")
	if err := os.RemoveAll(log); err != nil {
		s.t.Fatal(err)
	}
	s.launch()
	s.awaitReady(rabbitTimeout, func() error {
		text, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(text), rabbitStarted) {
			err = fmt.Errorf("its log has no line %q", rabbitStarted)
		}
		return err
	})
}

// Ctl runs rabbitmqctl and returns its output.
func (s *RabbitServer) Ctl(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(s.tools, "rabbitmqctl"), append([]string{"--quiet"}, args...)...)
	cmd.Dir, cmd.Env = s.folder, s.env
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("rabbitmqctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Sync writes the names of new quorum queues to disk. RabbitMQ does so within
// seconds. A server that is killed before doesn't find the queues again.
func (s *RabbitServer) Sync() {
	s.t.Helper()
	s.Ctl("eval", "[dets:sync(T) || T <- dets:all()].")
}

// lowPort returns a free port of 127.0.0.1 that no client gets by chance: Linux gives
// them those from 32768 on.
func lowPort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(20000 + rand.IntN(12768))
		if listener, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no free ports")
	return ""
}

// findRabbitMQ returns the folder of RabbitMQ's programs. Those in the PATH of Debian
// change to the account and the folders of the system's service.
func findRabbitMQ(t testing.TB) string {
	t.Helper()
	servers, err := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
	if err == nil && len(servers) > 0 {
		return filepath.Dir(servers[0])
	}
	const missing = "NOT RUN: this test needs RabbitMQ; scripts/install-rabbitmq.sh installs it"
	if os.Getenv("REQUIRE_REAL_SERVICES") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
