package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ratelimiter/internal/queue"
)

const (
	// partitions is how many partitions a topic is created with: how many of its
	// messages can be delivered at once, over all instances.
	partitions = 12
	// retention is how long a topic keeps its messages, delivered or not. It is that
	// of the positions of a group without consumers, so that none is delivered again
	// when those are forgotten.
	retention = 7 * 24 * time.Hour
	// minRetention is what an existing topic should have.
	minRetention = 24 * time.Hour
	// visiblePause is the time between two looks for a topic that was created: the
	// brokers hear of it a little later.
	visiblePause = 50 * time.Millisecond
)

// Prepare implements queue.Transport.
func (t *Transport) Prepare(ctx context.Context, groups []string) error {
	var topics []string
	for _, group := range groups {
		topics = append(topics, t.topic(group))
	}
	for created := false; ; created = true {
		missing, err := t.checkTopics(ctx, topics)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			break
		}
		if !created {
			err = t.create(ctx, missing)
		} else {
			err = pause(ctx, visiblePause)
		}
		if err != nil {
			return err
		}
	}
	if err := t.checkConfigs(ctx, topics); err != nil {
		return err
	}
	return t.checkGroups(ctx, topics)
}

// checkTopics checks the topics that exist, and returns the others.
func (t *Transport) checkTopics(ctx context.Context, topics []string) (missing []string, err error) {
	details, err := t.admin.ListTopics(kadm.WithAuthorizedOps(ctx), topics...)
	if err != nil {
		return nil, t.explain(err)
	}
	for _, topic := range topics {
		detail := details[topic]
		err := detail.Err
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			missing = append(missing, topic)
			continue
		case err == nil:
			err = t.checkTopic(detail)
		}
		if err != nil {
			return nil, fmt.Errorf("topic %s: %w", topic, t.explain(err))
		}
	}
	return missing, nil
}

// create creates topics.
func (t *Transport) create(ctx context.Context, topics []string) error {
	configs := map[string]*string{
		"cleanup.policy": new("delete"),
		"retention.ms":   new(strconv.FormatInt(retention.Milliseconds(), 10)),
	}
	const defaultReplication = -1
	responses, err := t.admin.CreateTopics(ctx, partitions, defaultReplication, configs, topics...)
	if err != nil {
		return t.explain(err)
	}
	for _, r := range responses.Sorted() {
		if r.Err != nil && !errors.Is(r.Err, kerr.TopicAlreadyExists) { // another instance was faster
			return fmt.Errorf("create the topic %s: %w %s", r.Topic, t.explain(r.Err), r.ErrMessage)
		}
	}
	return nil
}

// checkTopic checks the size of a topic and what the user may do with it.
func (t *Transport) checkTopic(detail kadm.TopicDetail) error {
	if n := len(detail.Partitions); n < partitions {
		t.warn(fmt.Sprintf("the topic %s has %d partitions: no more messages than that are delivered at once; %d are recommended", detail.Topic, n, partitions))
	}
	if len(detail.AuthorizedOperations) == 0 { // the broker doesn't say
		return nil
	}
	for _, operation := range []kadm.ACLOperation{kadm.OpRead, kadm.OpWrite} {
		if !slices.Contains(detail.AuthorizedOperations, operation) {
			return fmt.Errorf("%w: allow the user %s on it", queue.ErrMisconfigured, operation)
		}
	}
	return nil
}

// checkConfigs checks that topics keep messages until they are delivered.
func (t *Transport) checkConfigs(ctx context.Context, topics []string) error {
	configs, err := t.admin.DescribeTopicConfigs(ctx, topics...)
	if _, ok := errors.AsType[*kadm.AuthError](err); ok {
		return nil // the user may not read them
	}
	if err != nil {
		return t.explain(err)
	}
	for _, topic := range configs {
		for _, config := range topic.Configs {
			value := config.MaybeValue()
			switch config.Key {
			case "cleanup.policy":
				if strings.Contains(value, "compact") {
					return fmt.Errorf("%w: the topic %s is compacted, which deletes all messages of a key but the last: set cleanup.policy=delete", queue.ErrMisconfigured, topic.Name)
				}
			case "retention.ms":
				if ms, err := strconv.ParseInt(value, 10, 64); err == nil && ms >= 0 && ms < minRetention.Milliseconds() {
					t.warn(fmt.Sprintf("the topic %s has retention.ms=%s: messages that wait longer are lost; %d is recommended", topic.Name, value, retention.Milliseconds()))
				}
			}
		}
	}
	return nil
}

// checkGroups checks that the user may consume. The heartbeat of a member that
// doesn't exist has no effect, and its answer says whether there may be members.
func (t *Transport) checkGroups(ctx context.Context, groups []string) error {
	for _, group := range groups {
		request := kmsg.NewPtrHeartbeatRequest()
		request.Group, request.MemberID = group, "nobody"
		response, err := request.RequestWith(ctx, t.client)
		switch {
		case err == nil && response.ErrorCode == kerr.GroupAuthorizationFailed.Code:
			err = kerr.GroupAuthorizationFailed
		case errors.Is(err, context.DeadlineExceeded) && t.dial.failure() == nil:
			err = fmt.Errorf("no broker coordinates it, which with a single broker needs offsets.topic.replication.factor=1: %w", err)
		}
		if err != nil {
			return fmt.Errorf("consumer group %s: %w", group, t.explain(err))
		}
	}
	return nil
}

// warn logs a text once.
func (t *Transport) warn(text string) {
	if _, logged := t.warned.LoadOrStore(text, true); !logged {
		t.log.Warn("queue: " + text)
	}
}

// pause waits. It returns the error of ctx if that ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
