package models

// KeyVerdict is what an instance knows about a presented key without a query.
type KeyVerdict uint8

// Verdicts.
const (
	KeyUndecided KeyVerdict = iota // only storage knows
	KeyMalformed                   // no key has this form
	KeyUnknown                     // no live key has this id and secret, unless it was created a moment ago
	KeyLive                        // id and secret are a live key's, unless it has just expired or been revoked
)
