//go:build race

package middleware

// raceEnabled disables counting allocations: under the race detector, sync.Pool
// drops items at random.
const raceEnabled = true
