package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"ratelimiter/internal/queue"
)

// explain says what an operator must do about an error of the broker, if it takes an
// operator.
func (t *Transport) explain(err error) error {
	var certificate *tls.CertificateVerificationError
	var file *fs.PathError
	var broker *amqp.Error
	switch {
	case errors.As(err, &certificate), errors.As(err, &file):
		return fmt.Errorf("%w: RABBITMQ_URL: %w; amqps://…?cacertfile=PATH names the certificates to trust", queue.ErrMisconfigured, err)
	case !errors.As(err, &broker):
		return err
	}
	uri, _ := amqp.ParseURI(t.url) // New has checked it
	permissions := fmt.Sprintf("rabbitmqctl set_permissions -p '%s' '%s' '^%[3]s\\.' '^amq\\.default$' '^%[3]s\\.'", uri.Vhost, uri.Username, regexp.QuoteMeta(t.prefix))
	var wayOut string
	switch {
	case broker == amqp.ErrVhost: // a guess of the library: RabbitMQ says why it refuses one
		return errors.New("the connection to the broker was lost during the login")
	case broker == amqp.ErrCredentials, broker == amqp.ErrSASL: // a guess, too, but RabbitMQ closes the connection without a word
		wayOut = "RABBITMQ_URL: check user and password; the user guest may connect only from the broker's host"
	case broker.Code == amqp.AccessRefused:
		wayOut = "permit the queues to the user: " + permissions
	case broker.Code == amqp.NotAllowed:
		wayOut = fmt.Sprintf("RABBITMQ_URL: check the virtual host; to create it: rabbitmqctl add_vhost '%s' && %s", uri.Vhost, permissions)
	case broker.Code == amqp.PreconditionFailed && strings.Contains(broker.Reason, "inequivalent arg"):
		wayOut = "a queue exists with other arguments: if it is empty, delete it (rabbitmqctl delete_queue -p '" + uri.Vhost + "' NAME), and it is created as needed"
	default:
		return fmt.Errorf("broker: %s (%d)", broker.Reason, broker.Code)
	}
	return fmt.Errorf("%w: %s: %s", queue.ErrMisconfigured, broker.Reason, wayOut)
}

// supported checks what the server says about itself. Older versions of RabbitMQ lose
// messages that reach the delivery limit, and other servers have no quorum queues.
func supported(properties amqp.Table) error {
	product, _ := properties["product"].(string)
	version, _ := properties["version"].(string)
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	if product == "RabbitMQ" && err == nil && (major > 3 || major == 3 && minor >= 10) {
		return nil
	}
	return fmt.Errorf("%w: the server is %s %s: RabbitMQ 3.10 or newer is needed, because of its quorum queues", queue.ErrMisconfigured, product, version)
}
