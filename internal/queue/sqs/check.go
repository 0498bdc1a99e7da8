package sqs

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	// retention is the longest that SQS keeps a message that nobody takes.
	retention = 14 * 24 * time.Hour
	// minRetention is the default of SQS, and enough for a long weekend without
	// consumers. A message that is older is lost.
	minRetention = 4 * 24 * time.Hour
	// minReceives is the least number of deliveries after which a queue may move a
	// message to a dead-letter queue. Each five minutes without Postgres are one.
	minReceives = 10
)

// check warns about attributes of a queue that an operator set, which lose messages
// from the view of this server.
func (t *Transport) check(ctx context.Context, group, address string) error {
	attributes, err := t.attributes(ctx, address, types.QueueAttributeNameMessageRetentionPeriod, types.QueueAttributeNameRedrivePolicy)
	if err != nil {
		return err
	}
	kept, err := strconv.Atoi(attributes[string(types.QueueAttributeNameMessageRetentionPeriod)])
	if err == nil && time.Duration(kept)*time.Second < minRetention {
		t.warn(fmt.Sprintf("sqs: the queue %s deletes messages that wait for %s, without a trace: set its retention period to %s (14 days)",
			t.name(group), time.Duration(kept)*time.Second, seconds(retention)))
	}
	if n := maxReceives(attributes[string(types.QueueAttributeNameRedrivePolicy)]); n > 0 && n < minReceives {
		t.warn(fmt.Sprintf("sqs: the queue %s moves messages to its dead-letter queue after %d deliveries, which a short outage of Postgres makes: "+
			"set maxReceiveCount to %d or more, or remove the redrive policy; the dead letters are in Postgres", t.name(group), n, minReceives))
	}
	return nil
}

// maxReceives returns maxReceiveCount of a redrive policy, or 0 without one. It is a
// number or a string in JSON, as the policy was set.
func maxReceives(policy string) int {
	var p struct {
		MaxReceiveCount any `json:"maxReceiveCount"`
	}
	if json.Unmarshal([]byte(policy), &p) != nil {
		return 0
	}
	n, _ := strconv.Atoi(fmt.Sprint(p.MaxReceiveCount))
	return n
}

// warn logs a warning once: the queues are checked again after each interruption.
func (t *Transport) warn(text string) {
	t.mu.Lock()
	before := t.warned[text]
	t.warned[text] = true
	t.mu.Unlock()
	if !before {
		t.log.Warn(text)
	}
}
