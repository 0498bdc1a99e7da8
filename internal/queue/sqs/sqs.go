// Package sqs brings messages through Amazon SQS, or a server that speaks its
// protocol: each group has a standard queue, whose messages may be delivered in any
// order and more than once.
package sqs

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/logging"

	"ratelimiter/internal/queue"
)

const (
	// callTimeout bounds each call, without the wait for messages. The client tries
	// again within it.
	callTimeout = 5 * time.Second
	// maxConnections is how many idle connections are kept, for four groups: 50
	// messages of each are published at once, and 10 are acknowledged. The client
	// would keep 10 connections, and open the others for each call.
	maxConnections = 240
)

// Transport is a queue.Transport on SQS. The queue of a group is <prefix>-<group>.
type Transport struct {
	client      *awssqs.Client
	credentials aws.CredentialsProvider
	connections *http.Transport
	prefix      string
	region      string
	visibility  time.Duration // see visibility
	log         *slog.Logger

	addresses sync.Map // by group: the URL of the queue
	warned    sync.Map // warnings that were logged
}

var _ queue.Transport = (*Transport)(nil)

// New returns a transport whose region, credentials and certificates come from the
// usual AWS variables and files. An empty endpoint means that of the region. New
// doesn't connect. Its errors wrap queue.ErrMisconfigured.
func New(ctx context.Context, endpoint, prefix string, log *slog.Logger) (*Transport, error) {
	if err := checkEndpoint(endpoint); err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
		log.Debug("sqs: " + fmt.Sprintf(format, v...))
	})))
	if err != nil {
		return nil, misconfigured("read the AWS variables and files: %v", err)
	}
	if cfg.Region == "" {
		return nil, misconfigured("no AWS region: set AWS_REGION")
	}
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient) // with the certificates of AWS_CA_BUNDLE
	if !ok {
		client = awshttp.NewBuildableClient()
	}
	connections := client.GetTransport() // a copy
	connections.MaxIdleConns, connections.MaxIdleConnsPerHost = maxConnections, maxConnections
	return &Transport{
		client: awssqs.NewFromConfig(cfg, func(o *awssqs.Options) {
			o.HTTPClient = &http.Client{Transport: connections}
			if endpoint != "" {
				o.BaseEndpoint = &endpoint
			}
		}),
		credentials: cfg.Credentials, connections: connections, prefix: prefix, region: cfg.Region, visibility: visibility, log: log,
	}, nil
}

// checkEndpoint returns an error that doesn't contain the endpoint, which may have a
// password in it.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case endpoint == "":
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return misconfigured("SQS_ENDPOINT must be a URL such as https://sqs.eu-central-1.amazonaws.com")
	case u.User != nil:
		return misconfigured("SQS_ENDPOINT must contain no user and password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	return nil
}

// escaped replaces the two characters that JSON may contain as they are, in strings
// only, and that SQS rejects.
var escaped = strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`)

// Publish implements queue.Transport. SQS confirms a message when several servers
// have stored it.
func (t *Transport) Publish(ctx context.Context, group string, m queue.Outgoing) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	address, err := t.address(ctx, group)
	if err == nil {
		_, err = t.client.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: &address, MessageBody: aws.String(escaped.Replace(string(m.Body)))})
	}
	return t.explain(err)
}

// Close implements queue.Transport.
func (t *Transport) Close() { t.connections.CloseIdleConnections() }
