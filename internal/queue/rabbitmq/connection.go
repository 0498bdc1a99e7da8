package rabbitmq

import (
	"context"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// callTimeout bounds a call to the broker, and one write to its socket.
const callTimeout = 5 * time.Second

// connection is a connection to the broker. The library's calls wait for the broker
// for as long as the connection lives: call bounds them.
type connection struct {
	*amqp.Connection

	socket net.Conn
}

// dial connects. name is shown to operators of the broker.
func (t *Transport) dial(ctx context.Context, name string) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var c connection
	stop := func() bool { return true }
	dialSocket := func(network, address string) (net.Conn, error) {
		socket, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.socket = boundedWriter{socket}
		stop = context.AfterFunc(ctx, func() { _ = socket.Close() })
		return c.socket, nil
	}
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	var err error
	c.Connection, err = amqp.DialConfig(t.url, amqp.Config{Properties: properties, Dial: dialSocket})
	if !stop() || ctx.Err() != nil {
		err = noAnswer(ctx)
	}
	if err == nil {
		err = supported(c.Properties)
	}
	if err != nil {
		if c.socket != nil {
			_ = c.socket.Close() // the library leaves it open, and its goroutines with it
		}
		return nil, err
	}
	return &c, nil
}

// call runs f, which waits for the broker. It closes the connection when the broker
// doesn't answer in time.
func (c *connection) call(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.socket.Close() })
	err := f()
	if !stop() {
		return noAnswer(ctx)
	}
	return err
}

// close ends the connection, in order if the broker answers.
func (c *connection) close() {
	_ = c.call(context.Background(), c.Close) // it is closed in any case
	_ = c.socket.Close()
}

func noAnswer(ctx context.Context) error {
	return fmt.Errorf("no answer from the broker: %w", ctx.Err())
}

// boundedWriter is a socket whose writes fail when a hanging broker reads nothing.
// The library closes the connection then.
type boundedWriter struct{ net.Conn }

func (w boundedWriter) Write(b []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(callTimeout)); err != nil {
		return 0, err
	}
	return w.Conn.Write(b)
}
