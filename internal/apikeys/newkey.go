package apikeys

import (
	"fmt"
	"net/netip"

	"ratelimiter/models"
)

// operatorsPlan is what operators' own keys get.
const operatorsPlan = "internal"

func setDefaults(n *NewKey) {
	if n.Plan == "" {
		n.Plan = models.DefaultPlan
		if n.Admin {
			n.Plan = operatorsPlan
		}
	}
	if len(n.Scopes) == 0 {
		n.Scopes = models.DefaultScopes()
		if n.Admin {
			n.Scopes = []models.Scope{models.ScopeAdmin}
		}
	}
	if n.Owner == "" {
		n.Owner = "own_" + randomBase62(idLength)
	}
	if n.IPAllow == nil {
		n.IPAllow = []netip.Prefix{}
	}
	if n.Metadata == nil {
		n.Metadata = map[string]string{}
	}
	if n.Overrides == nil {
		n.Overrides = []models.Override{}
	}
}

// maxNameLength is in bytes: a name is for people, in a list.
const maxNameLength = 200

// maxMetadata is in entries: metadata is for a few labels, and every instance
// holds it in memory.
const maxMetadata = 50

// validate checks what has to be right wherever a key comes from.
func validate(n *NewKey) error {
	var faults models.Faults
	switch {
	case n.Name == "":
		faults.Body("/name", "required", "must not be empty")
	case len(n.Name) > maxNameLength:
		faults.Body("/name", "max_length", fmt.Sprintf("must be at most %d bytes", maxNameLength))
	}
	if len(n.Metadata) > maxMetadata {
		faults.Body("/metadata", "max_items", fmt.Sprintf("must have at most %d entries in all", maxMetadata))
	}
	for i, scope := range n.Scopes {
		if !scope.Known() {
			faults.Body(fmt.Sprintf("/scopes/%d", i), "enum", fmt.Sprintf("%q is no scope; there are: %v", scope, models.AllScopes()))
		}
	}
	return faults.Err()
}
