package client

import (
	"net/http"
	"time"

	"github.com/dunglas/httpsfv"
)

// report is what one response reports of one policy.
type report struct {
	remaining int64         // units
	reset     time.Duration // until units return
	slots     bool          // no reset: a concurrency policy
	quota     int64         // units
	window    time.Duration // in which the quota returns; 0: unknown
}

// maxPolicies bounds the reports of one response. A key has at most 16 policies.
const maxPolicies = 16

// reportsOf reads the fields RateLimit and RateLimit-Policy of
// draft-ietf-httpapi-ratelimit-headers-11, by policy name. Malformed members
// are ignored.
func reportsOf(header http.Header) map[string]report {
	reports := map[string]report{}
	policies := members(header.Values("RateLimit-Policy"))
	for name, limit := range members(header.Values("RateLimit")) {
		r, t := number(limit, "r"), number(limit, "t")
		if r < 0 {
			continue
		}
		reports[name] = report{
			remaining: r, reset: seconds(t), slots: t < 0,
			quota: number(policies[name], "q"), window: seconds(number(policies[name], "w")),
		}
	}
	return reports
}

// members parses a list of strings with parameters.
func members(values []string) map[string]*httpsfv.Params {
	list, _ := httpsfv.UnmarshalList(values) // a malformed field is as good as none
	params := map[string]*httpsfv.Params{}
	for _, member := range list[:min(len(list), maxPolicies)] {
		item, _ := member.(httpsfv.Item)
		if name, ok := item.Value.(string); ok {
			params[name] = item.Params
		}
	}
	return params
}

// number returns a parameter that is a non-negative integer, or -1.
func number(params *httpsfv.Params, name string) int64 {
	if params == nil {
		return -1
	}
	value, _ := params.Get(name)
	if n, ok := value.(int64); ok && n >= 0 {
		return n
	}
	return -1
}

// seconds converts n, from 0 to ten years, so that sums of times don't overflow.
func seconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), 10*366*24*60*60)) * time.Second
}
