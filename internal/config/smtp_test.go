package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseSMTPURL(t *testing.T) {
	for url, want := range map[string]string{
		"smtp://mail.example?from=shop@example.com":                           `{mail.example 587   false false <shop@example.com>}`,
		"smtps://mail.example/?from=shop@example.com":                         `{mail.example 465   true false <shop@example.com>}`,
		"smtp://u:p%40ss@mail.example:25?from=Shop+%3Cshop@example.com%3E":    `{mail.example 25 u p@ss false false "Shop" <shop@example.com>}`,
		"smtp://mail.example:25?from=shop@example.com&starttls=optional":      `{mail.example 25   false true <shop@example.com>}`,
		"smtp://127.0.0.1:1025?from=shop@example.com":                         `{127.0.0.1 1025   false true <shop@example.com>}`,
		"smtp://u:p@localhost:1025?from=shop@example.com":                     `{localhost 1025 u p false false <shop@example.com>}`,
		"smtp://[::1]:1025?from=shop@example.com":                             `{::1 1025   false true <shop@example.com>}`,
		"http://mail.example?from=shop@example.com":                           "error: must look like",
		"smtp://u:hunter2@mail.example:x?from=shop@example.com":               "error: must look like",
		"smtp://?from=shop@example.com":                                       "error: must look like",
		"smtp://mail.example/path?from=shop@example.com":                      "error: must look like",
		"smtp://u:hunter2@mail.example":                                       "error: needs the sender's address",
		"smtp://u:hunter2@mail.example?from=shop":                             "error: needs the sender's address",
		"smtp://u@mail.example?from=shop@example.com":                         "error: needs both user and password",
		"smtp://mail.example:0?from=shop@example.com&tls=no":                  "error: the port must be from 1 to 65535; knows only the parameters from and starttls",
		"smtp://u:hunter2@mail.example?from=shop@example.com&starttls=maybe":  "error: starttls can only be optional",
		"smtp://u:hunter2@mail.example?from=s@example.com&starttls=optional":  "error: a password needs TLS",
		"smtps://mail.example?from=shop@example.com&starttls=optional":        "error: starttls is for smtp",
		"smtp://mail.example?from=shop@ex%C3%A4mple.com":                      "error: needs the sender's address",
		"smtp://mail.example?from=shop@example.com%0D%0ABcc:+eve@example.com": "error: needs the sender's address",
	} {
		s, err := parseSMTPURL(url)
		var got string
		if err == nil {
			got = fmt.Sprint(*s)
		} else {
			got = "error: " + strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		if !strings.HasPrefix(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %s; want %s", url, got, want)
		}
	}
	if s, err := parseSMTPURL(""); s != nil || err != nil {
		t.Errorf("got %v, %v", s, err)
	}
}
