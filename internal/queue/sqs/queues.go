package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"time"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	// retention is the longest that SQS keeps a message that nobody takes.
	retention = 14 * 24 * time.Hour
	// minReceives is the least number of deliveries after which a queue may move a
	// message to a dead-letter queue. Each five minutes without Postgres are one.
	minReceives = 10
)

// validName matches the names that SQS allows for standard queues.
var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// Prepare implements queue.Transport.
func (t *Transport) Prepare(ctx context.Context, groups []string) error {
	_, err := t.credentials.Retrieve(ctx)
	for _, group := range groups {
		if err == nil {
			err = t.prepare(ctx, group)
		}
	}
	return t.explain(err)
}

// prepare looks for the queue of a group, creates it if it is missing, and checks it.
func (t *Transport) prepare(ctx context.Context, group string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	name := t.name(group)
	if !validName.MatchString(name) {
		return misconfigured("the name of the queue %q may have 80 letters, digits, '-' and '_'", name)
	}
	address, err := t.find(ctx, group)
	if _, missing := errors.AsType[*types.QueueDoesNotExist](err); missing {
		address, err = t.create(ctx, name)
	}
	if err != nil {
		return err
	}
	attributes, err := t.attributes(ctx, address, types.QueueAttributeNameRedrivePolicy)
	if n := maxReceives(attributes[string(types.QueueAttributeNameRedrivePolicy)]); n > 0 && n < minReceives {
		t.warn(fmt.Sprintf("sqs: the queue %s moves messages to its dead-letter queue after %d deliveries, which an outage of Postgres can make: "+
			"set maxReceiveCount to %d or more, or remove the redrive policy: dead letters are kept in Postgres", name, n, minReceives))
	}
	return err
}

// name returns the name of a group's queue.
func (t *Transport) name(group string) string { return t.prefix + "-" + group }

// address returns the URL of a group's queue. It is derived from the name: a queue
// that is deleted and created again has the same.
func (t *Transport) address(ctx context.Context, group string) (string, error) {
	if address, ok := t.addresses.Load(group); ok {
		return address.(string), nil
	}
	return t.find(ctx, group)
}

// find asks for the URL of a group's queue.
func (t *Transport) find(ctx context.Context, group string) (string, error) {
	name := t.name(group)
	found, err := t.client.GetQueueUrl(ctx, &awssqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return "", err
	}
	t.addresses.Store(group, *found.QueueUrl)
	return *found.QueueUrl, nil
}

// create creates a queue and returns its URL.
func (t *Transport) create(ctx context.Context, name string) (string, error) {
	created, err := t.client.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
		string(types.QueueAttributeNameMessageRetentionPeriod): strconv.Itoa(int(retention.Seconds())),
	}})
	if denied(err) {
		return "", misconfigured("the queue %s doesn't exist in region %s, and these credentials may not create it: create it, or allow sqs:CreateQueue", name, t.region)
	}
	if err != nil {
		return "", err
	}
	t.log.Info("sqs: created a queue", slog.String("queue", name))
	return *created.QueueUrl, nil
}

// attributes reads attributes of a queue.
func (t *Transport) attributes(ctx context.Context, address string, names ...types.QueueAttributeName) (map[string]string, error) {
	out, err := t.client.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{QueueUrl: &address, AttributeNames: names})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// maxReceives returns maxReceiveCount of a redrive policy, or 0 without one. It is a
// number or a string in JSON, as the policy was set.
func maxReceives(policy string) int {
	var p struct {
		MaxReceiveCount any `json:"maxReceiveCount"`
	}
	_ = json.Unmarshal([]byte(policy), &p)
	n, _ := strconv.Atoi(fmt.Sprint(p.MaxReceiveCount))
	return n
}

// warn logs a warning once: the queues are checked again after each interruption.
func (t *Transport) warn(text string) {
	if _, before := t.warned.LoadOrStore(text, nil); !before {
		t.log.Warn(text)
	}
}

// Waiting implements queue.Transport. It includes the messages in delivery: SQS can't
// tell those whose consumer died from the others.
func (t *Transport) Waiting(ctx context.Context, group string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	address, err := t.address(ctx, group)
	if err != nil {
		return 0, t.explain(err)
	}
	attributes, err := t.attributes(ctx, address,
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
	var waiting int64
	for _, text := range attributes {
		n, _ := strconv.ParseInt(text, 10, 64)
		waiting += n
	}
	return waiting, t.explain(err)
}
