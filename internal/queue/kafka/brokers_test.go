package kafka

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseBrokers(t *testing.T) {
	for text, want := range map[string]Brokers{
		"kafka:9092":                      {Addresses: []string{"kafka:9092"}},
		"a:1, b:2,[::1]:65535":            {Addresses: []string{"a:1", "b:2", "[::1]:65535"}},
		"tls://a:9092,b:9092":             {Addresses: []string{"a:9092", "b:9092"}, TLS: true},
		"tls://me:p%3A%40%2F%3F@a:9092":   {Addresses: []string{"a:9092"}, TLS: true, User: "me", Password: "p:@/?"},
		"tls://me:p@a:9092,b:1":           {Addresses: []string{"a:9092", "b:1"}, TLS: true, User: "me", Password: "p"},
		"tls://m%20e:p@a:9092?sasl=plain": {Addresses: []string{"a:9092"}, TLS: true, User: "m e", Password: "p", Plain: true},
	} {
		if got, err := ParseBrokers(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestParseBrokers_faults(t *testing.T) {
	for text, want := range map[string][]string{
		"":                            {"host:port"},
		"kafka":                       {"host:port"},
		":9092":                       {"host:port"},
		"a:9092,":                     {"host:port"},
		"a:0,b:65536,c:x":             {"broker 1: want a port", "broker 2: want a port", "broker 3: want a port"},
		"a/b:9092":                    {"host name"},
		"kafka://a:9092":              {"the only scheme"},
		"me:secret@a:9092":            {"with TLS only"},
		"sasl_ssl://me:secret@a:":     {"the only scheme", "with TLS only", "port"},
		"tls://me@a:9092":             {"needs a password"},
		"tls://:secret@a:9092":        {"needs a password"},
		"tls://me:secret%zz@a:9092":   {"percent-encoded"},
		"a:9092?sasl=plain":           {"needs a user"},
		"a:9092?sasl=scram":           {"only sasl=plain"},
		"tls://me:secret@a?b=secret":  {"host:port", "only sasl=plain"},
		"tls://me:sec/ret@b@a:9092,,": {"broker 2: want host:port", "percent-encoded"},
		"tls://me:secret":             {"want a port"},
		"tls://me:secret?x@a:9092":    {"want a port", "only sasl=plain"},
		"tls://a:1@b:9092,a:1@c:9092": {"given once"},
	} {
		_, err := ParseBrokers(text)
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		for _, fault := range want {
			if !strings.Contains(err.Error(), fault) {
				t.Errorf("%s: got %q, want %q", text, err, fault)
			}
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec/ret") {
			t.Errorf("%s: the error contains the password: %v", text, err)
		}
	}
}

// FuzzParseBrokers: no error contains the password.
func FuzzParseBrokers(f *testing.F) {
	f.Add("tls://me:", "@a:9092")
	f.Add("", "@a,b:1?sasl=plain")
	f.Fuzz(func(t *testing.T, before, after string) {
		const password = "Zq7Xw9"
		if strings.Contains(before+after, password) || !strings.HasPrefix(after, "@") || strings.Contains(before, "@") {
			t.Skip()
		}
		if _, err := ParseBrokers(before + password + after); err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", before+password+after, err)
		}
	})
}
