package models

import (
	"strings"
	"testing"
)

func TestIsControl(t *testing.T) {
	for _, r := range "\x00\t\n\r\x1b\x7f\u0085\u009b\u061c\u200b\u200d\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\U000e0041" {
		if !IsControl(r) {
			t.Errorf("%U isn't a control character", r)
		}
	}
	if text := "Käse & 数 \U0001f600\ufe0f e\u0301 العربية"; strings.ContainsFunc(text, IsControl) {
		t.Errorf("%q has a control character", text)
	}
}
