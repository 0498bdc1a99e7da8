package ratelimit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ratelimiter/ratelimit"
)

// examples contains every algorithm and field.
const examples = `[
{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20},
{"name":"minute","algorithm":"sliding_window","limit":300,"period":"1m"},
{"name":"monthly","algorithm":"calendar","limit":10000,"period":"month","time_zone":"Europe/Berlin","anchor_day":15},
{"name":"writes","algorithm":"fixed_window","limit":60,"period":"1m","group":"orders:write"},
{"name":"parallel","algorithm":"concurrency","limit":8,"hold":"30s"},
{"name":"queue","algorithm":"leaky_bucket","limit":8,"period":"1s","max_wait":"250ms","sharing":"exact"},
{"name":"new-limit","algorithm":"sliding_log","limit":50,"period":"10s","mode":"shadow"},
{"name":"company","algorithm":"calendar","limit":1000000,"period":"month","per":"owner","charge":"requests"}
]`

func TestParsePolicies_RoundTrip(t *testing.T) {
	policies, err := ratelimit.ParsePolicies([]byte(examples))
	if err != nil {
		t.Fatal(err)
	}
	written, err := json.Marshal(policies)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(examples, "\n", ""); string(written) != want {
		t.Errorf("Marshal =\n%s, want\n%s", written, want)
	}
	if _, err := ratelimit.NewQuota(policies, ratelimit.Subjects{}); err != nil {
		t.Error(err)
	}
}

// faultsOf returns "pointer code" of every fault.
func faultsOf(err error) []string {
	var invalid *ratelimit.InvalidError
	if !errors.As(err, &invalid) {
		return []string{fmt.Sprint(err)}
	}
	var list []string
	for _, f := range invalid.Faults {
		list = append(list, f.Pointer+" "+f.Code)
		if f.Message == "" || !strings.Contains(err.Error(), f.Message) {
			list = append(list, "missing message")
		}
	}
	return list
}

func TestParsePolicies_Faults(t *testing.T) {
	window := func(fields string) string {
		return `{"name":"w","algorithm":"fixed_window","limit":5,"period":"1m"` + fields + `}`
	}
	for _, c := range []struct{ json, want string }{
		{`{`, " syntax"},
		{``, " syntax"},
		{`[] []`, " syntax"},
		{`null`, " type"},
		{`{}`, " type"},
		{`[1]`, "/0 type"},
		{`[null]`, "/0 type"},
		{`[{}]`, "/0/limit required; /0/name required; /0/algorithm required; /0/period required"},
		{`[` + window(``) + `,` + window(``) + `]`, "/1/name duplicate"},
		{`[` + window(`,"limit":6`) + `]`, "/0/limit duplicate"},
		{`[` + window(`,"Mode":"shadow"`) + `]`, "/0/Mode unknown"},
		{`[` + window(`,"a/b~c":1`) + `]`, "/0/a~1b~0c unknown"},
		{`[` + window(`,"mode":null`) + `]`, "/0/mode type"},
		{`[` + window(`,"mode":"off"`) + `]`, "/0/mode enum"},
		{`[` + window(`,"mode":""`) + `]`, "/0/mode required"},
		{`[` + window(`,"per":"user","charge":"all","sharing":"x"`) + `]`, "/0/per enum; /0/charge enum; /0/sharing enum"},
		{`[` + window(`,"burst":5,"hold":"1s","max_wait":"1s","time_zone":"UTC","anchor_day":1`) + `]`,
			"/0/burst not_allowed; /0/max_wait not_allowed; /0/hold not_allowed; /0/time_zone not_allowed; /0/anchor_day not_allowed"},
		{`[` + window(`,"group":"unknown"`) + `]`, "/0/group enum"},
		{`[{"name":"A","algorithm":"gcra","limit":0,"period":"1y"}]`, "/0/limit min; /0/name pattern; /0/algorithm enum; /0/period pattern"},
		{`[{"name":"-a","algorithm":"fixed_window","limit":-1,"period":"0s"}]`, "/0/limit min; /0/name pattern; /0/period pattern"},
		{`[{"name":"` + strings.Repeat("a", 33) + `","algorithm":"fixed_window","limit":"5","period":5}]`, "/0/limit type; /0/period type; /0/name pattern"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1.5,"period":"1m"}]`, "/0/limit type"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1.00000000000000000000000001,"period":"1m"}]`, "/0/limit type"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1e-1,"period":"1m"}]`, "/0/limit type"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1e-99999999999999999999,"period":"1m"}]`, "/0/limit type"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1e99999999999999999999,"period":"1m"}]`, "/0/limit max"},
		{`[{"name":"a","algorithm":"fixed_window","limit":-1e19,"period":"1m"}]`, "/0/limit min"},
		{`[{"name":"a","algorithm":"fixed_window","limit":-0e5,"period":"1m"}]`, "/0/limit min"},
		{`[{"name":"a","algorithm":"fixed_window","limit":9223372036854775808.0,"period":"1m"}]`, "/0/limit max"},
		{`[{"name":"a","algorithm":"fixed_window","limit":"1e3","period":"1m"}]`, "/0/limit type"},
		{`[{"name":"a","algorithm":"fixed_window","limit":true,"period":"1m"}]`, "/0/limit type"},
		{`[{"name":"a","algorithm":"fixed_window","limit":99999999999999999999,"period":"1m"}]`, "/0/limit max"},
		{`[{"name":"a","algorithm":"fixed_window","limit":-99999999999999999999,"period":"1m"}]`, "/0/limit min"},
		{`[{"name":"a","algorithm":"calendar","limit":1000000000001,"period":"month"}]`, "/0/limit max"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1001,"period":"1ms"}]`, "/0/limit max"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1,"period":"367d"}]`, "/0/period max"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1,"period":"99999999999999h"}]`, "/0/period pattern"},
		{`[{"name":"a","algorithm":"fixed_window","limit":1,"period":"month"}]`, "/0/period pattern"},
		{`[{"name":"a","algorithm":"calendar","limit":1,"period":"1d"}]`, "/0/period enum"},
		{`[{"name":"a","algorithm":"calendar","limit":1,"period":"day","anchor_day":2}]`, "/0/anchor_day not_allowed"},
		{`[{"name":"a","algorithm":"calendar","limit":1,"period":"month","anchor_day":32}]`, "/0/anchor_day max"},
		{`[{"name":"a","algorithm":"calendar","limit":1,"period":"month","anchor_day":0}]`, "/0/anchor_day min"},
		{`[{"name":"a","algorithm":"calendar","limit":1,"period":"month","time_zone":"Berlin"}]`, "/0/time_zone enum"},
		{`[{"name":"a","algorithm":"calendar","limit":1,"period":"month","time_zone":"Local"}]`, "/0/time_zone enum"},
		{`[{"name":"a","algorithm":"sliding_log","limit":10001,"period":"1h"}]`, "/0/limit max"},
		{`[{"name":"a","algorithm":"sliding_log","limit":1,"period":"1h","sharing":"leased"}]`, "/0/sharing not_allowed"},
		{`[{"name":"a","algorithm":"concurrency","limit":1,"period":"1h"}]`, "/0/period not_allowed"},
		{`[{"name":"a","algorithm":"concurrency","limit":1,"hold":"never"}]`, "/0/hold pattern"},
		{`[{"name":"a","algorithm":"token_bucket","limit":1,"period":"366d","burst":10}]`, "/0/burst max"},
		{`[{"name":"a","algorithm":"token_bucket","limit":1,"period":"1s","burst":0}]`, "/0/burst min"},
		{`[{"name":"a","algorithm":"token_bucket","limit":1,"period":"1s","burst":1000000000001}]`, "/0/burst max"},
		{`[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","algorithm":"concurrency","limit":1},`, 17), ",") + `]`, " max_items"},
	} {
		_, err := ratelimit.ParsePolicies([]byte(c.json), ratelimit.WithGroups("orders:write"))
		got := strings.Join(faultsOf(err), "; ")
		if !strings.HasPrefix(got, c.want) || len(got) > len(c.want) && c.want != " max_items" {
			t.Errorf("%s\n got %s\nwant %s", c.json, got, c.want)
		}
	}
}

func TestParsePolicies_IntegerNotations(t *testing.T) {
	for notation, want := range map[string]int64{
		"100": 100, "1e2": 100, "1E2": 100, "1e+2": 100, "100.0": 100, "1.0e2": 100, "10.0e1": 100, "1000e-1": 100, "0.1e3": 100,
		"10000.000e-2": 100, "1e12": ratelimit.MaxLimit, "1000000000000.000": ratelimit.MaxLimit, "1": 1, "0.001e00003": 1,
		"0.00000000000000000000000000000000000000001e41": 1, "100000000000000000000000000000000000000000e-41": 1,
	} {
		policies, err := ratelimit.ParsePolicies([]byte(`[{"name":"a","algorithm":"calendar","limit":` + notation + `,"period":"day"},
			{"name":"b","algorithm":"token_bucket","limit":1000000,"period":"1s","burst":` + notation + `},
			{"name":"c","algorithm":"calendar","limit":1,"period":"month","anchor_day":1.5e1}]`))
		if err != nil || policies[0].Limit != want || policies[1].Burst != want || policies[2].AnchorDay != 15 {
			t.Errorf("%s: %v, %+v, want %d", notation, err, policies, want)
		}
	}
}

// TestParsePolicies_IntegersMatchRationals compares the notations of a number
// with math/big.
func TestParsePolicies_IntegersMatchRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		notation := rapid.StringMatching(`-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "notation")
		value, ok := new(big.Rat).SetString(notation)
		if !ok {
			t.Fatalf("%s is not a number", notation)
		}
		want := value.Num()
		policies, err := ratelimit.ParsePolicies([]byte(`[{"name":"a","algorithm":"calendar","limit":` + notation + `,"period":"day"}]`))
		valid := value.IsInt() && value.Sign() > 0 && value.Cmp(big.NewRat(ratelimit.MaxLimit, 1)) <= 0
		if valid != (err == nil) || valid && policies[0].Limit != want.Int64() {
			t.Fatalf("%s: %+v, %v, want %v", notation, policies, err, value)
		}
	})
}

func TestValidate_InclusiveBounds(t *testing.T) {
	for _, p := range []ratelimit.Policy{
		{Name: strings.Repeat("a", 32), Algorithm: ratelimit.FixedWindow, Limit: 1000, Period: "1ms"},
		{Name: "0_-", Algorithm: ratelimit.FixedWindow, Limit: ratelimit.MaxLimit, Period: "366d"},
		{Name: "a", Algorithm: ratelimit.Calendar, Limit: ratelimit.MaxLimit, Period: "day"},
		{Name: "a", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "365d", Burst: 10},
		{Name: "a", Algorithm: ratelimit.TokenBucket, Limit: 1000, Period: "1ms", Burst: ratelimit.MaxLimit},
		{Name: "a", Algorithm: ratelimit.SlidingLog, Limit: ratelimit.MaxLogLimit, Period: "1s"},
		{Name: "a", Algorithm: ratelimit.Concurrency, Limit: ratelimit.MaxLimit, Hold: "366d"},
	} {
		if err := ratelimit.Validate([]ratelimit.Policy{p}); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestParsePolicies_RoundTripGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policies := []ratelimit.Policy{validPolicy().Draw(t, "policy")}
		written, err := json.Marshal(policies)
		if err != nil {
			t.Fatal(err)
		}
		read, err := ratelimit.ParsePolicies(written)
		if err != nil || !reflect.DeepEqual(read, policies) {
			t.Fatalf("%s: %v, %+v", written, err, read)
		}
	})
}

func TestEvery(t *testing.T) {
	for want, p := range map[string]ratelimit.Period{
		"1d": ratelimit.Every(24e9 * 3600), "25h": ratelimit.Every(25e9 * 3600), "90s": ratelimit.Every(90e9),
		"2m": ratelimit.Every(120e9), "1500ms": ratelimit.Every(15e8), "1ms": ratelimit.Every(1e6),
	} {
		if string(p) != want {
			t.Errorf("Every = %s, want %s", p, want)
		}
		if d, ok := p.Duration(); !ok || ratelimit.Every(d) != p {
			t.Errorf("Duration of %s = %v, %v", p, d, ok)
		}
	}
}
