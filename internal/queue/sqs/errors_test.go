package sqs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"ratelimiter/internal/queue"
)

func TestNew_misconfigured(t *testing.T) {
	for name, c := range map[string]struct{ region, endpoint, want string }{
		"no region":         {"", "", "AWS_REGION"},
		"endpoint":          {"us-east-1", "127.0.0.1:9324", "SQS_ENDPOINT"},
		"unparsable":        {"us-east-1", "http://hidden%zz@h", "SQS_ENDPOINT"},
		"endpoint password": {"us-east-1", "http://user:hidden@127.0.0.1:9324", "AWS_SECRET_ACCESS_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_REGION", c.region)
			_, err := New(context.Background(), c.endpoint, "p", slog.New(slog.DiscardHandler))
			if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%v, want ErrMisconfigured with %s and without the password", err, c.want)
			}
		})
	}
	t.Run("profile", func(t *testing.T) {
		t.Setenv("AWS_PROFILE", "missing")
		if _, err := New(context.Background(), "", "p", slog.New(slog.DiscardHandler)); !errors.Is(err, queue.ErrMisconfigured) {
			t.Errorf("%v, want ErrMisconfigured", err)
		}
	})
}

func TestTransport_Prepare_without_credentials(t *testing.T) {
	for name, env := range map[string][2]string{
		"no metadata service":      {"AWS_EC2_METADATA_DISABLED", "true"},
		"metadata service is away": {"AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv(env[0], env[1])
			transport, err := New(context.Background(), "http://127.0.0.1:1", "p", slog.New(slog.DiscardHandler))
			if err == nil {
				err = transport.Prepare(context.Background(), []string{"g"})
			}
			if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
				t.Errorf("%v, want ErrMisconfigured that names the variables", err)
			}
		})
	}
}

func TestTransport_Prepare_name(t *testing.T) {
	for _, group := range []string{strings.Repeat("g", 79), "a.b"} {
		err := withFake(t, nil).Prepare(context.Background(), []string{group})
		if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "p-"+group) {
			t.Errorf("%v, want ErrMisconfigured", err)
		}
	}
}

// TestTransport_Prepare_refused checks what an operator reads, for the codes that
// AWS documents.
func TestTransport_Prepare_refused(t *testing.T) {
	const token = "FwoGZXIvYXdzEXAMPLE"
	for name, c := range map[string]struct {
		code, wayOut  string
		misconfigured bool
	}{
		"denied":              {"AccessDeniedException", "sqs:ReceiveMessage", true},
		"denied, query codes": {"AccessDenied", "arn:aws:sqs:us-east-1:*:p-*", true},
		"unknown key":         {"InvalidClientTokenId", "AWS_ACCESS_KEY_ID", true},
		"wrong secret":        {"InvalidSignatureException", "AWS_REGION", true},
		"expired":             {"ExpiredTokenException", "AWS_SESSION_TOKEN", true},
		"key of KMS":          {"KmsAccessDenied", "kms:GenerateDataKey", true},
		"KMS is busy":         {"KmsThrottled", "", false},
		"deleted recently":    {"QueueDeletedRecently", "", false},
		"throttled":           {"RequestThrottled", "", false},
		"internal error":      {"InternalFailure", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			transport := withFake(t, func(context.Context, string, map[string]any) (int, map[string]any) {
				message := "refused"
				if strings.Contains(c.code, "Signature") {
					message = "The Canonical String should have been x-amz-security-token:" + token
				}
				return 400, map[string]any{"__type": "com.amazonaws.sqs#" + c.code, "message": message}
			})
			for call, err := range map[string]error{
				"Prepare": transport.Prepare(context.Background(), []string{"g"}),
				"Publish": transport.Publish(context.Background(), "g", queue.Outgoing{Body: []byte("{}")}),
				"Consume": transport.Consume(context.Background(), "g", 1, nil),
			} {
				if err == nil || errors.Is(err, queue.ErrMisconfigured) != c.misconfigured || !strings.Contains(err.Error(), c.wayOut) {
					t.Errorf("%s: %v, want misconfigured=%t with %q", call, err, c.misconfigured, c.wayOut)
				}
				if strings.Contains(fmt.Sprint(err), token) {
					t.Errorf("%s: %v contains the session token", call, err)
				}
			}
		})
	}
}

// TestTransport_Prepare_may_not_create checks the case of queues that an operator
// must create.
func TestTransport_Prepare_may_not_create(t *testing.T) {
	transport := withFake(t, func(_ context.Context, action string, _ map[string]any) (int, map[string]any) {
		if action == "CreateQueue" {
			return 403, map[string]any{"__type": "com.amazonaws.sqs#AccessDeniedException", "message": "no"}
		}
		return 400, map[string]any{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no"}
	})
	err := transport.Prepare(context.Background(), []string{"g"})
	if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "p-g") || !strings.Contains(err.Error(), "us-east-1") || !strings.Contains(err.Error(), "sqs:CreateQueue") {
		t.Errorf("%v, want the queue, the region and the action", err)
	}
}

func TestTransport_Prepare_unreachable(t *testing.T) {
	err := newTransport(t, "http://127.0.0.1:1", "p", slog.New(slog.DiscardHandler)).Prepare(context.Background(), []string{"g"})
	if err == nil || errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("%v, want an error that passes", err)
	}
}

// TestTransport_explain_region checks what a mistyped region leads to: a host that
// doesn't exist.
func TestTransport_explain_region(t *testing.T) {
	transport := withFake(t, nil)
	unknown := fmt.Errorf("send: %w", &net.DNSError{Name: "sqs.us-esat-1.amazonaws.com", IsNotFound: true})
	if err := transport.explain(unknown); !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("%v, want ErrMisconfigured", err)
	}
	silent := fmt.Errorf("send: %w", &net.DNSError{Name: "sqs.us-east-1.amazonaws.com", IsTimeout: true})
	if err := transport.explain(silent); errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("%v, want an error that passes", err)
	}
}
