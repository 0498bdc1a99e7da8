package models

// Check asks the engine for a decision about something that isn't ours: take
// Cost units from the counters that Owner has for Subject under Plan.
type Check struct {
	Owner   string // of the key that asks
	Subject string // whatever the caller counts for
	Plan    string
	Cost    int64 // units; 0 peeks
}
