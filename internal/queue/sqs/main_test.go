package sqs

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/goleak"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/queuetest"
)

// cleanEnv keeps the AWS variables and files of the machine out.
var cleanEnv = map[string]string{
	"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "",
	"AWS_PROFILE": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_ROLE_ARN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
	"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_SQS": "", "AWS_CA_BUNDLE": "",
}

func TestMain(m *testing.M) {
	for name, value := range cleanEnv {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	queuetest.Main(m, queuetest.BrokerWorker(open))
}

// open returns a transport that brings the messages of a consumer that died back
// within seconds.
func open(address, prefix string) (queue.Transport, error) {
	transport, err := New(context.Background(), address, prefix, slog.New(slog.DiscardHandler))
	if err == nil {
		transport.visibility = 5 * time.Second
	}
	return transport, err
}

// newTransport returns a transport that is closed at the end of the test and may
// leave no goroutine.
func newTransport(t *testing.T, endpoint, prefix string, log *slog.Logger) *Transport {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	transport, err := New(context.Background(), endpoint, prefix, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.Close)
	return transport
}

// fakeServer answers the calls of a client without a network: action is
// "SendMessage", and request its parameters. A status other than 200 is an error,
// whose code is answer["__type"].
type fakeServer func(ctx context.Context, action string, request map[string]any) (status int, answer map[string]any)

// Do implements the HTTP client of the SDK.
func (f fakeServer) Do(r *http.Request) (*http.Response, error) {
	var request map[string]any
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return nil, err
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	status, answer := f(r.Context(), action, request)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(answer)
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, err
}

// withFake returns a transport whose calls a fake server answers.
func withFake(t *testing.T, fake fakeServer) *Transport {
	t.Helper()
	transport := newTransport(t, "http://127.0.0.1:1", "p", slog.New(slog.DiscardHandler))
	transport.client = awssqs.New(transport.client.Options(), func(o *awssqs.Options) {
		o.HTTPClient, o.Retryer = fake, aws.NopRetryer{}
	})
	return transport
}
