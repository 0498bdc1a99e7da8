package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// clusterSlots is the number of hash slots of a Redis Cluster.
const clusterSlots = 16384

// RedisCluster is a Redis Cluster of three primaries without replicas.
type RedisCluster struct {
	Nodes [3]*RedisServer
}

// NewRedisCluster starts a cluster; see Redis.
func NewRedisCluster(t testing.TB) *RedisCluster {
	t.Helper()
	c := &RedisCluster{}
	for i := range c.Nodes {
		c.Nodes[i] = Redis(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
	}
	first := c.Nodes[0]
	for i, node := range c.Nodes {
		from, to := i*clusterSlots/len(c.Nodes), (i+1)*clusterSlots/len(c.Nodes)-1
		node.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to))
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if node != first {
			node.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(first.port))
		}
	}
	c.WaitReady()
	return c
}

// URL returns the URL of the cluster.
func (c *RedisCluster) URL() string {
	return fmt.Sprintf("%s?addr=%s&addr=%s", c.Nodes[0].URL(), c.Nodes[1].Addr(), c.Nodes[2].Addr())
}

// WaitReady waits until every node knows every other one and serves.
func (c *RedisCluster) WaitReady() {
	for _, node := range c.Nodes {
		node.wait("cluster_known_nodes:3", func() (string, error) { return node.do("CLUSTER", "INFO") })
		node.wait("cluster_state:ok", func() (string, error) { return node.do("CLUSTER", "INFO") })
	}
}

// RedisSentinels is a primary, a replica and three Sentinels that watch them.
type RedisSentinels struct {
	Primary, Replica *RedisServer
	sentinels        [3]*RedisServer
}

// sentinelConfig watches the primary and promotes the replica a second after the primary is gone.
const sentinelConfig = "port %d\nbind 127.0.0.1\ndir %s\nlogfile %s\nsentinel monitor primary 127.0.0.1 %d 2\n" +
	"sentinel down-after-milliseconds primary 1000\nsentinel failover-timeout primary 3000\n"

// NewRedisSentinels starts a set of servers; see Redis.
func NewRedisSentinels(t testing.TB) *RedisSentinels {
	t.Helper()
	program := findRedis(t, "redis-sentinel")
	set := &RedisSentinels{Primary: Redis(t)}
	set.Replica = Redis(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(set.Primary.port))
	set.Replica.wait("master_link_status:up", func() (string, error) { return set.Replica.do("INFO", "replication") })
	for i := range set.sentinels {
		s := &RedisServer{process{t: t, name: "Redis", program: program, folder: serverFolder(t)}, freeRedisPort(t)}
		config := filepath.Join(s.folder, "sentinel.conf")
		text := fmt.Sprintf(sentinelConfig, s.port, s.folder, filepath.Join(s.folder, "log"), set.Primary.port)
		err := os.WriteFile(config, []byte(text), 0o600)
		if os.Geteuid() == 0 { // Sentinel rewrites it
			err = errors.Join(err, os.Chown(config, nobody, nobody))
		}
		if err != nil {
			t.Fatal(err)
		}
		s.args = []string{config}
		t.Cleanup(s.stop)
		s.Start()
		set.sentinels[i] = s
	}
	for _, s := range set.sentinels {
		s.wait("slaves=1,sentinels=3", func() (string, error) { return s.do("INFO", "sentinel") })
	}
	return set
}

// URL returns the URL of the set.
func (s *RedisSentinels) URL() string {
	return fmt.Sprintf("%s?master_set=primary&addr=%s&addr=%s", s.sentinels[0].URL(), s.sentinels[1].Addr(), s.sentinels[2].Addr())
}

// WaitPromoted waits until the replica is the primary.
func (s *RedisSentinels) WaitPromoted() {
	s.Replica.wait("role:master", func() (string, error) { return s.Replica.do("INFO", "replication") })
}

// respCommand sends one command in the protocol RESP2 and returns the answer as text.
func respCommand(conn net.Conn, command []string) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, text.String()); err != nil {
		return "", err
	}
	return respAnswer(bufio.NewReader(conn))
}

func respAnswer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '-':
		return "", errors.New(rest)
	case '$':
		size, err := strconv.Atoi(rest)
		if err != nil || size < 0 {
			return "", err
		}
		text := make([]byte, size+len("\r\n"))
		_, err = io.ReadFull(r, text)
		return string(text[:size]), err
	case '*':
		count, err := strconv.Atoi(rest)
		lines := make([]string, max(0, count))
		for i := range lines {
			var failure error
			lines[i], failure = respAnswer(r)
			err = errors.Join(err, failure)
		}
		return strings.Join(lines, "\n"), err
	default: // simple text and integers
		return rest, nil
	}
}
