package sqs

import (
	"context"
	"strings"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"ratelimiter/internal/queue"
)

// escaped replaces the two characters that JSON may contain unescaped and SQS
// rejects. In JSON, they are in strings only.
var escaped = strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`)

// Publish implements queue.Transport. SQS confirms a message when it is stored on
// several servers.
func (t *Transport) Publish(ctx context.Context, group string, m queue.Outgoing) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	address, err := t.address(ctx, group)
	if err != nil {
		return t.explain(err)
	}
	body := escaped.Replace(string(m.Body))
	_, err = t.client.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: &address, MessageBody: &body})
	return t.explain(err)
}
