package testkit

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestElasticMQ_killed_and_paused(t *testing.T) {
	s := ElasticMQ(t)
	ask := func(path string, parameters ...string) string {
		query := url.Values{}
		for i := 0; i < len(parameters); i += 2 {
			query.Set(parameters[i], parameters[i+1])
		}
		response, err := http.Get(s.Endpoint() + path + "?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%v, %s: %s", err, response.Status, body)
		}
		return string(body)
	}
	const queue = "/000000000000/q"
	ask("/", "Action", "CreateQueue", "QueueName", "q")
	ask("/", "Action", "CreateQueue", "QueueName", "empty")
	s.Settle()
	ask(queue, "Action", "SendMessage", "MessageBody", "one")
	s.Pause()
	s.Continue()
	ask(queue, "Action", "SendMessage", "MessageBody", "two")
	s.Kill()
	s.Start()
	ask("/", "Action", "GetQueueUrl", "QueueName", "empty")
	both := ask(queue, "Action", "ReceiveMessage", "MaxNumberOfMessages", "10")
	if !strings.Contains(both, "one") || !strings.Contains(both, "two") {
		t.Errorf("after a SIGKILL: %s, want both messages", both)
	}
}
