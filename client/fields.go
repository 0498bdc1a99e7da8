package client

import (
	"net/http"
	"time"

	"github.com/dunglas/httpsfv"
)

// report is what one response says about one policy.
type report struct {
	policy    string
	remaining int64         // units
	reset     time.Duration // until units return
	slots     bool          // no reset: a concurrency policy
}

// maxPolicies bounds the reports of one response. A key has at most 16 policies.
const maxPolicies = 16

// reportsOf reads the field RateLimit of
// draft-ietf-httpapi-ratelimit-headers-11. Malformed members are ignored.
func reportsOf(header http.Header) []report {
	list, err := httpsfv.UnmarshalList(header.Values("RateLimit"))
	if err != nil {
		return nil
	}
	var reports []report
	for _, member := range list[:min(len(list), maxPolicies)] {
		item, ok := member.(httpsfv.Item)
		if !ok {
			continue
		}
		name, ok := item.Value.(string)
		r, t := parameter(item, "r"), parameter(item, "t")
		if ok && r >= 0 {
			reports = append(reports, report{policy: name, remaining: r, reset: seconds(t), slots: t < 0})
		}
	}
	return reports
}

// parameter returns a parameter that is a non-negative integer, or -1.
func parameter(item httpsfv.Item, name string) int64 {
	value, _ := item.Params.Get(name)
	if n, ok := value.(int64); ok && n >= 0 {
		return n
	}
	return -1
}

// seconds converts n, from 0 to ten years, so that sums of times don't overflow.
func seconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), 10*366*24*60*60)) * time.Second
}
