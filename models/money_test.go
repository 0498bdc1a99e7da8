package models

import "testing"

func TestMoney_Format(t *testing.T) {
	for _, test := range []struct {
		amount         int64
		currency, want string
	}{
		{1999, "EUR", "19.99"},
		{5, "USD", "0.05"},
		{0, "EUR", "0.00"},
		{123456789, "EUR", "1,234,567.89"},
		{100000, "EUR", "1,000.00"},
		{1999, "JPY", "1,999"},
		{0, "JPY", "0"},
		{1999, "KWD", "1.999"},
		{7, "BHD", "0.007"},
		{12345, "CLF", "1.2345"},
		{-1999, "EUR", "-19.99"},
		{-1 << 63, "JPY", "-9,223,372,036,854,775,808"},
		{1<<63 - 1, "XXX", "92,233,720,368,547,758.07"},
	} {
		if got := (Money{Amount: test.amount, Currency: test.currency}).Format(); got != test.want {
			t.Errorf("Format(%d, %s) = %s; want %s", test.amount, test.currency, got, test.want)
		}
	}
}
