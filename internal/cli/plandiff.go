package cli

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// comparePlans returns the difference of a plan; a plan that didn't exist before
// is the zero Plan.
func comparePlans(before, after models.Plan) planChange {
	change := planChange{Name: after.Name, Change: "replace", Policies: []policyChange{}}
	switch before.Version {
	case 0:
		change.Change = "create"
	case after.Version:
		change.Change = "none"
		return change
	}
	if before.Description != after.Description {
		change.Description = &[2]string{before.Description, after.Description}
	}
	for _, old := range before.Policies {
		if policyNamed(after.Policies, old.Name) == nil {
			change.Policies = append(change.Policies, policyChange{Name: old.Name, Change: "remove", Before: policyJSON(old)})
		}
	}
	for _, policy := range after.Policies {
		switch old := policyNamed(before.Policies, policy.Name); {
		case old == nil:
			change.Policies = append(change.Policies, policyChange{Name: policy.Name, Change: "add", After: policyJSON(policy)})
		case *old != policy:
			change.Policies = append(change.Policies, policyChange{policy.Name, "change", policyJSON(*old), policyJSON(policy)})
		}
	}
	return change
}

func policyNamed(policies []ratelimit.Policy, name string) *ratelimit.Policy {
	if i := slices.IndexFunc(policies, func(p ratelimit.Policy) bool { return p.Name == name }); i >= 0 {
		return &policies[i]
	}
	return nil
}

func policyJSON(policy ratelimit.Policy) json.RawMessage {
	data, err := json.Marshal(policy)
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	return data
}

// String formats the differences: + added, - removed, ~ changed, = unchanged.
func (c planChanges) String() string {
	var b strings.Builder
	signs := map[string]string{"create": "+", "replace": "~", "none": "=", "add": "+", "remove": "-", "change": "~"}
	differing := 0
	for _, plan := range c.Plans {
		fmt.Fprintf(&b, "%s plan %s\n", signs[plan.Change], plan.Name)
		if plan.Change == "none" {
			continue
		}
		differing++
		if d := plan.Description; d != nil {
			fmt.Fprintf(&b, "    ~ description %q -> %q\n", d[0], d[1])
		}
		for _, policy := range plan.Policies {
			fmt.Fprintf(&b, "    %s %s", signs[policy.Change], policy.Name)
			if policy.Before != nil {
				fmt.Fprintf(&b, " %s", policy.Before)
			}
			if policy.Change == "change" {
				b.WriteString("\n      ->")
			}
			if policy.After != nil {
				fmt.Fprintf(&b, " %s", policy.After)
			}
			b.WriteByte('\n')
		}
	}
	switch {
	case differing == 0:
		b.WriteString("No differences.\n")
	case c.DryRun:
		fmt.Fprintf(&b, "Nothing was changed. Without --dry-run, %d of %d plans would be.\n", differing, len(c.Plans))
	default:
		fmt.Fprintf(&b, "Applied: %d of %d plans were changed.\n", differing, len(c.Plans))
	}
	return b.String()
}

// describePolicy returns a policy in words, without its name.
func describePolicy(p ratelimit.Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d", p.Algorithm, p.Limit)
	if p.Period != "" {
		b.WriteString(" per " + string(p.Period))
	}
	for _, field := range []struct {
		name  string
		value any
	}{
		{"burst", p.Burst}, {"max_wait", p.MaxWait}, {"hold", p.Hold}, {"time_zone", p.TimeZone}, {"anchor_day", p.AnchorDay},
		{"group", p.Group}, {"per", p.Per}, {"charge", p.Charge}, {"mode", p.Mode}, {"sharing", p.Sharing},
	} {
		if !reflect.ValueOf(field.value).IsZero() {
			fmt.Fprintf(&b, ", %s %v", field.name, field.value)
		}
	}
	return b.String()
}
