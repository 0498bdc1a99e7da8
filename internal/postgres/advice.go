package postgres

import "strings"

// advice is the way out of the faults that a machine can have, by the system's words for them.
var advice = []struct{ fault, wayOut string }{
	{"no space left on device", "the disk is full: free some space, or set DATA_DIR to a folder on another disk"},
	{"disk quota exceeded", "the disk quota is used up: free some space, or set DATA_DIR to a folder on another disk"},
	{"read-only file system", "the disk is read-only: set DATA_DIR to a folder that can be written"},
	{"permission denied", "the folder is closed to this user: run as the user that it belongs to, or set DATA_DIR to another folder"},
	{"operation not permitted", "this process may not change users or owners: run it as an unprivileged user, or set DATABASE_URL"},
	{"not a directory", "set DATA_DIR to a folder"},
}

// adviceFor is the way out of a fault, to be put after its text; "" for one that has none here.
func adviceFor(text string) string {
	text = strings.ToLower(text)
	for _, a := range advice {
		if strings.Contains(text, a.fault) {
			return " (" + a.wayOut + ")"
		}
	}
	return ""
}
