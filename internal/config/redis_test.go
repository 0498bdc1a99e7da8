package config

import (
	"strings"
	"testing"
)

func TestCheckRedisURL(t *testing.T) {
	for _, c := range []struct {
		url   string
		valid bool
	}{
		{"", true},
		{"redis://127.0.0.1:6379", true},
		{"redis://:hunter2@cache/3", true},
		{"rediss://u:hunter2@cache:6380", true},
		{"redis://a:26379?master_set=main&addr=b:26379", true},
		{"redis://a:6379?addr=b:6379&addr=c:6379", true},
		{"unix:///run/redis.sock", true},
		{"127.0.0.1:6379", false},
		{"redis:6379", false},
		{"http://cache", false},
		{"postgres://u:hunter2@cache/x", false},
		{"redis://u:hunter2@cache/x", false},
		{"redis://u:hunter2@cache:port", false},
		{"redis://u:hunter2@%zz", false},
	} {
		err := checkRedisURL(c.url)
		if (err == nil) != c.valid {
			t.Errorf("%s: %v, want valid = %v", c.url, err, c.valid)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error contains a password: %v", err)
		}
	}
}
