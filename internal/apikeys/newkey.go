package apikeys

import (
	"fmt"
	"net/netip"

	"ratelimiter/models"
)

// operatorsPlan is the default plan of admin keys.
const operatorsPlan = "internal"

func setDefaults(n *models.NewKey) {
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

// maxMetadata is the largest number of metadata entries of a key. A merge patch
// is checked after merging, which only the store can do.
const maxMetadata = 50

// checkMetadata rejects too many metadata entries.
func checkMetadata(metadata map[string]string) error {
	var faults models.Faults
	if len(metadata) > maxMetadata {
		faults.Add("max_items", fmt.Sprintf("must have at most %d entries in all", maxMetadata), "metadata")
	}
	return faults.Err()
}
