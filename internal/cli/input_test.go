package cli

import (
	"strings"
	"testing"
)

func TestFromYAML(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain", "plans:\n- name: a\n", `{"plans":[{"name":"a"}]}`},
		{"JSON", `{"plans":[{"limit":1}]}`, `{"plans":[{"limit":1}]}`},
		{"byte order mark", "\ufeffa: 1\n", `{"a":1}`},
		{"merge key", "x: &b {l: 1, n: a}\nlist:\n- <<: *b\n  l: 2\n", `{"list":[{"l":2,"n":"a"}],"x":{"l":1,"n":"a"}}`},
		{"list of merge keys", "a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc: {<<: [*a, *b]}\n", `{"a":{"x":1},"b":{"x":2,"y":3},"c":{"x":1,"y":3}}`},
		{"leading zeros are decimal", "a: 010\nb: -007\nc: 0\nd: 00\n", `{"a":10,"b":-7,"c":0,"d":0}`},
		{"octal and hexadecimal", "a: 0o10\nb: 0x10\n", `{"a":8,"b":16}`},
		{"quoted digits", "a: '010'\n", `{"a":"010"}`},
		{"YAML 1.1 booleans are strings", "a: yes\n", `{"a":"yes"}`},
		{"dates are strings", "a: 2026-01-01\n", `{"a":"2026-01-01"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := fromYAML([]byte(test.text))
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
	for name, text := range map[string]string{
		"several documents": "a: 1\n---\nb: 2\n", "repeated key": "a: 1\na: 2\n", "unknown anchor": "a: *x\n", "empty": "", "syntax": "a: [1\n",
		"alias bomb": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
	} {
		if got, err := fromYAML([]byte(text)); err == nil || strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
