package models

// Check asks for a decision about a subject of the caller's own: take Cost
// units from the counters that Owner has for Subject under Plan.
type Check struct {
	Owner   string // of the key that asks
	Subject string // chosen by the caller
	Plan    string
	Cost    int64 // units; 0 peeks
}
