package models

import (
	"strconv"
	"strings"
)

// minorDigits is the number of decimals of the currencies that don't have two
// (ISO 4217, list one: "minor units").
var minorDigits = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0,
	"UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"CLF": 4, "UYW": 4,
}

// Format returns the amount in major units with thousands separators, without the
// currency: 123456 EUR is 1,234.56.
func (m Money) Format() string {
	amount := m.Amount
	digits, special := minorDigits[m.Currency]
	if !special {
		digits = 2
	}
	sign, size := "", uint64(amount)
	if amount < 0 {
		sign, size = "-", -size // correct for math.MinInt64 too
	}
	text := strconv.FormatUint(size, 10)
	if missing := digits + 1 - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	whole, part := text[:len(text)-digits], text[len(text)-digits:]
	if part != "" {
		part = "." + part
	}
	return sign + GroupDigits(whole) + part
}

// GroupDigits inserts thousands separators: 1234567 is 1,234,567.
func GroupDigits(digits string) string {
	first := (len(digits)-1)%3 + 1
	var out strings.Builder
	out.WriteString(digits[:first])
	for rest := digits[first:]; rest != ""; rest = rest[3:] {
		out.WriteString("," + rest[:3])
	}
	return out.String()
}
