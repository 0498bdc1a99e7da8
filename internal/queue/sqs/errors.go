package sqs

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"ratelimiter/internal/queue"
)

// actions are what the credentials must allow.
const actions = "sqs:GetQueueUrl, sqs:CreateQueue (if the queues are missing), sqs:GetQueueAttributes, sqs:SendMessage, sqs:ReceiveMessage, " +
	"sqs:ChangeMessageVisibility and sqs:DeleteMessage"

// refused are the error codes of credentials that AWS doesn't accept.
var refused = []string{
	"AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSecurity",
	"InvalidSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired",
	"SignatureDoesNotMatch", "UnrecognizedClientException",
}

func misconfigured(format string, a ...any) error {
	return fmt.Errorf("%w: %s", queue.ErrMisconfigured, fmt.Sprintf(format, a...))
}

// explain returns an error that says what an operator must change, if that is so.
func (t *Transport) explain(err error) error {
	switch code := codeOf(err); {
	case err == nil || errors.Is(err, queue.ErrMisconfigured):
		return err
	case slices.Contains(refused, code):
		// The message isn't repeated: it may contain the session token.
		return misconfigured("%s: AWS doesn't accept the credentials: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, "+
			"that AWS_REGION (%s) is right, and the clock", code, t.region)
	case denied(err):
		return misconfigured("%v: allow these actions on arn:aws:sqs:%s:*:%s-*: %s", err, t.region, t.prefix, actions)
	case strings.HasPrefix(strings.ToLower(code), "kms") && code != "KmsThrottled":
		return misconfigured("%v: the queue is encrypted with a key of KMS: allow kms:GenerateDataKey and kms:Decrypt on it, and check that it is enabled", err)
	case withoutCredentials(err):
		return misconfigured("no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or container a role: %v", err)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return misconfigured("the host %s doesn't exist: check AWS_REGION (%s) and SQS_ENDPOINT", dns.Name, t.region)
	}
	return err
}

// codeOf returns the code of an answer of AWS, or "".
func codeOf(err error) string {
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		return answer.ErrorCode()
	}
	return ""
}

// denied reports whether a permission is missing.
func denied(err error) bool {
	code := codeOf(err)
	return code == "AccessDenied" || code == "AccessDeniedException"
}

// withoutCredentials reports whether none were found: the last place where they are
// looked for is the metadata service of EC2, which exists only there.
func withoutCredentials(err error) bool {
	call, ok := errors.AsType[*smithy.OperationError](err)
	return ok && call.Service() == "ec2imds"
}
