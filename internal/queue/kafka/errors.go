package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ratelimiter/internal/queue"
)

// wayOut says what an operator can do about errors of the brokers that don't pass by
// themselves.
var wayOut = []struct {
	is  error
	way string
}{
	{kerr.TopicAuthorizationFailed, "allow the user READ, WRITE and DESCRIBE on the topics, and CREATE if they don't exist"},
	{kerr.GroupAuthorizationFailed, "allow the user READ on the consumer groups, which have the names of the topics"},
	{kerr.ClusterAuthorizationFailed, "allow the user CREATE on the topics (brokers before 2.8: also IDEMPOTENT_WRITE on the cluster)"},
	{kerr.SaslAuthenticationFailed, "check the user and the password in KAFKA_BROKERS"},
	{kerr.UnsupportedSaslMechanism, "the brokers don't offer SCRAM-SHA-512 (with ?sasl=plain: PLAIN): enable it there, or change KAFKA_BROKERS"},
	{kerr.InvalidReplicationFactor, "the brokers' default.replication.factor is more than there are brokers: lower it, or create the topics"},
	{kerr.PolicyViolation, "a policy of the brokers forbids to create the topics: create them"},
	{kerr.InvalidTopicException, "the name of the topic is not allowed"},
	{kerr.InvalidSessionTimeout, "the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms must allow " + sessionTimeout.String()},
	{kerr.UnsupportedVersion, "the brokers are too old: Kafka 2.4 or newer is needed"},
}

// explain adds to an error what can be done about it, or why no broker was reached.
func (t *Transport) explain(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range wayOut {
		if errors.Is(err, known.is) {
			return fmt.Errorf("%w: %w: %s", queue.ErrMisconfigured, err, known.way)
		}
	}
	switch dialed := t.dial.failure(); {
	case dialed == nil && errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer from the brokers in time: %w", err)
	case dialed != nil && !strings.Contains(err.Error(), dialed.Error()):
		err = fmt.Errorf("%w; last attempt to connect: %w", err, dialed)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: %w: add the brokers' authority to the system's certificates, or use the host name that the certificate has", queue.ErrMisconfigured, err)
	}
	if _, ok := errors.AsType[*kgo.ErrFirstReadEOF](err); ok {
		return fmt.Errorf("%w; check KAFKA_BROKERS", err) // or a proxy whose broker is down
	}
	return err
}

// lastDial remembers why the last attempt to connect failed: while no broker can be
// reached, requests only report that their time is over.
type lastDial struct{ err atomic.Pointer[error] }

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (l *lastDial) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	switch {
	case err == nil:
		l.err.Store(nil)
	case !errors.Is(err, context.Canceled): // the client was closed
		l.err.Store(&err)
	}
}

// failure returns the error of the last attempt, or nil.
func (l *lastDial) failure() error {
	if err := l.err.Load(); err != nil {
		return *err
	}
	return nil
}
