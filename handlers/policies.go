package handlers

import (
	"errors"
	"slices"
	"strings"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// policyList is a list of policies in a body.
type policyList []ratelimit.Policy

// DecodeJSON parses the list with every fault of each policy.
func (l *policyList) DecodeJSON(data []byte, fault func(code, message string, path ...string)) {
	*l = parsePolicies(data, 0, fault)
}

// policy is one policy in a body.
type policy ratelimit.Policy

// DecodeJSON parses the policy with all its faults.
func (p *policy) DecodeJSON(data []byte, fault func(code, message string, path ...string)) {
	if list := parsePolicies(slices.Concat([]byte("["), data, []byte("]")), 1, fault); len(list) == 1 {
		*p = policy(list[0])
	}
}

// pointerUnescapes decodes names in JSON pointers (RFC 6901, section 4).
var pointerUnescapes = strings.NewReplacer("~1", "/", "~0", "~")

// parsePolicies parses a JSON list of policies. skip is how many leading elements
// of fault paths to leave out.
func parsePolicies(list []byte, skip int, fault func(code, message string, path ...string)) []ratelimit.Policy {
	policies, err := ratelimit.ParsePolicies(list, ratelimit.WithGroups(models.PolicyGroups()...), ratelimit.WithoutLeasedSharing())
	if invalid, ok := errors.AsType[*ratelimit.InvalidError](err); ok {
		for _, f := range invalid.Faults {
			path := strings.Split(f.Pointer, "/")[1:]
			for i := range path {
				path[i] = pointerUnescapes.Replace(path[i])
			}
			fault(f.Code, f.Message, path[min(skip, len(path)):]...)
		}
	}
	return policies
}
