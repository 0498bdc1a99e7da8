package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"ratelimiter/handlers"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// comparePlans tells what differs between a plan before and after; one that
// wasn't there is the zero Plan.
func comparePlans(before, after models.Plan) (planChange, error) {
	change := planChange{Name: after.Name, Change: "replace", Policies: []policyChange{}}
	switch before.Version {
	case 0:
		change.Change, before.Policies = "create", []byte("[]")
	case after.Version:
		change.Change = "none"
		return change, nil
	}
	if before.Description != after.Description {
		change.Description = &[2]string{before.Description, after.Description}
	}
	was, err := handlers.ShowPlan(before)
	if err != nil {
		return planChange{}, err
	}
	is, err := handlers.ShowPlan(after)
	if err != nil {
		return planChange{}, err
	}
	for _, old := range was.Policies {
		if policyNamed(is.Policies, old.Name) == nil {
			change.Policies = append(change.Policies, policyChange{Name: old.Name, Change: "remove", Before: policyJSON(old)})
		}
	}
	for _, policy := range is.Policies {
		switch old := policyNamed(was.Policies, policy.Name); {
		case old == nil:
			change.Policies = append(change.Policies, policyChange{Name: policy.Name, Change: "add", After: policyJSON(policy)})
		case *old != policy:
			change.Policies = append(change.Policies, policyChange{policy.Name, "change", policyJSON(*old), policyJSON(policy)})
		}
	}
	return change, nil
}

func policyNamed(policies []ratelimit.Policy, name string) *ratelimit.Policy {
	for i := range policies {
		if policies[i].Name == name {
			return &policies[i]
		}
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

// String tells the difference to people: + is new, - is gone, ~ has changed,
// = has not.
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
		b.WriteString("Nothing differs.\n")
	case c.DryRun:
		fmt.Fprintf(&b, "Nothing was changed: without --dry-run, %d of %d plans would be.\n", differing, len(c.Plans))
	default:
		fmt.Fprintf(&b, "Applied: %d of %d plans were changed.\n", differing, len(c.Plans))
	}
	return b.String()
}
