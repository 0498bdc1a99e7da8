// Package sqs brings messages through Amazon SQS, or a server that speaks its
// protocol: each group has a standard queue, whose messages may be delivered in any
// order and more than once.
package sqs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go/logging"

	"ratelimiter/internal/queue"
)

const (
	// callTimeout bounds each call except the wait for messages. The client tries
	// again within it.
	callTimeout = 5 * time.Second
	// maxConnections is how many idle connections are kept: of the messages that are
	// published at once and of those that are acknowledged at once, in four groups.
	// The client would keep 10, and open the others anew for each call.
	maxConnections = 256
)

// validName matches the names that SQS allows for standard queues.
var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// Transport is a queue.Transport on SQS. The queue of a group is <prefix>-<group>.
type Transport struct {
	client      *awssqs.Client
	credentials aws.CredentialsProvider
	connections *http.Transport
	prefix      string
	region      string
	log         *slog.Logger

	mu     sync.Mutex
	urls   map[string]string // by group
	warned map[string]bool   // by warning
}

var _ queue.Transport = (*Transport)(nil)

// New returns a transport whose region, credentials and certificates come from the
// usual AWS variables and files. An empty endpoint means that of the region. New
// makes no connection. Its errors wrap queue.ErrMisconfigured.
func New(ctx context.Context, endpoint, prefix string, log *slog.Logger) (*Transport, error) {
	if !validName.MatchString(prefix) {
		return nil, misconfigured("the prefix %q of the queues may have letters, digits, '-' and '_' only", prefix)
	}
	if err := checkEndpoint(endpoint); err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
		log.Debug("sqs: the client reports", slog.String("message", fmt.Sprintf(format, v...)))
	})))
	if err != nil {
		return nil, misconfigured("read the AWS variables and files: %v", err)
	}
	if cfg.Region == "" {
		return nil, misconfigured("no AWS region: set AWS_REGION")
	}
	if cfg.Credentials == nil {
		return nil, misconfigured(noCredentials)
	}
	t := &Transport{
		credentials: cfg.Credentials, connections: transportOf(cfg), prefix: prefix, region: cfg.Region, log: log,
		urls: map[string]string{}, warned: map[string]bool{},
	}
	t.client = awssqs.NewFromConfig(cfg, func(o *awssqs.Options) {
		o.HTTPClient = &http.Client{Transport: t.connections}
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
	})
	return t, nil
}

// checkEndpoint returns an error that doesn't contain the endpoint, which may have a
// password in it.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return misconfigured("SQS_ENDPOINT must be a URL such as https://sqs.eu-central-1.amazonaws.com")
	case u.User != nil:
		return misconfigured("SQS_ENDPOINT must contain no user and password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	return nil
}

// transportOf returns the connections of the configuration, which may have
// certificates of its own, and keeps more of them.
func transportOf(cfg aws.Config) *http.Transport {
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		client = awshttp.NewBuildableClient()
	}
	connections := client.GetTransport() // a copy
	connections.MaxIdleConns, connections.MaxIdleConnsPerHost = maxConnections, maxConnections
	return connections
}

// Prepare implements queue.Transport.
func (t *Transport) Prepare(ctx context.Context, groups []string) error {
	if _, err := t.credentials.Retrieve(ctx); err != nil {
		return t.explain(err)
	}
	for _, group := range groups {
		if err := t.prepare(ctx, group); err != nil {
			return t.explain(fmt.Errorf("queue %s: %w", t.name(group), err))
		}
	}
	return nil
}

// prepare looks for the queue of a group, creates it if it is missing, and checks it.
func (t *Transport) prepare(ctx context.Context, group string) error {
	if !validName.MatchString(t.name(group)) {
		return misconfigured("the name may have 80 characters: letters, digits, '-' and '_'")
	}
	address, err := t.find(ctx, group)
	if _, missing := errors.AsType[*types.QueueDoesNotExist](err); missing {
		address, err = t.create(ctx, group)
	}
	if err != nil {
		return err
	}
	return t.check(ctx, group, address)
}

// name returns the name of a group's queue.
func (t *Transport) name(group string) string { return t.prefix + "-" + group }

// address returns the URL of a group's queue.
func (t *Transport) address(ctx context.Context, group string) (string, error) {
	t.mu.Lock()
	address := t.urls[group]
	t.mu.Unlock()
	if address != "" {
		return address, nil
	}
	return t.find(ctx, group)
}

// find asks for the URL of a group's queue.
func (t *Transport) find(ctx context.Context, group string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := t.client.GetQueueUrl(ctx, &awssqs.GetQueueUrlInput{QueueName: aws.String(t.name(group))})
	if err != nil {
		return "", err
	}
	t.keep(group, *found.QueueUrl)
	return *found.QueueUrl, nil
}

// create creates the queue of a group.
func (t *Transport) create(ctx context.Context, group string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	created, err := t.client.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: aws.String(t.name(group)), Attributes: map[string]string{
		string(types.QueueAttributeNameMessageRetentionPeriod):        seconds(retention),
		string(types.QueueAttributeNameVisibilityTimeout):             seconds(visibility),
		string(types.QueueAttributeNameReceiveMessageWaitTimeSeconds): seconds(longPoll),
	}})
	if denied(err) {
		return "", misconfigured("it doesn't exist in region %s, and these credentials may not create it: create it, or allow sqs:CreateQueue", t.region)
	}
	if err != nil {
		return "", err
	}
	t.log.Info("sqs: created a queue", slog.String("queue", t.name(group)))
	t.keep(group, *created.QueueUrl)
	return *created.QueueUrl, nil
}

// keep notes the URL of a group's queue. It is derived from the name, so a queue
// that is deleted and created again has the same.
func (t *Transport) keep(group, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.urls[group] = address
}

// Waiting implements queue.Transport.
func (t *Transport) Waiting(ctx context.Context, group string) (int64, error) {
	address, err := t.address(ctx, group)
	if err != nil {
		return 0, t.explain(err)
	}
	attributes, err := t.attributes(ctx, address, types.QueueAttributeNameApproximateNumberOfMessages)
	if err != nil {
		return 0, t.explain(err)
	}
	return strconv.ParseInt(attributes[string(types.QueueAttributeNameApproximateNumberOfMessages)], 10, 64)
}

// attributes reads attributes of a queue.
func (t *Transport) attributes(ctx context.Context, address string, names ...types.QueueAttributeName) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := t.client.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{QueueUrl: &address, AttributeNames: names})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// Close implements queue.Transport.
func (t *Transport) Close() { t.connections.CloseIdleConnections() }

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
