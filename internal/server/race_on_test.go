//go:build race

package server

// raceEnabled: the race detector makes sync.Pool drop things at random, so
// allocations can't be counted under it.
const raceEnabled = true
