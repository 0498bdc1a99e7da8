package binding

import (
	"fmt"
	"strings"
)

// unknownMessage returns the message for an unknown field or parameter, with a
// suggestion.
func unknownMessage(kind, name string, known []string) string {
	similar := Similar(name, known)
	switch {
	case similar == "":
		return "is not a known " + kind
	case strings.EqualFold(similar, name):
		return fmt.Sprintf("is not a known %s: did you mean %q? Names are case-sensitive", kind, similar)
	default:
		return fmt.Sprintf("is not a known %s: did you mean %q?", kind, similar)
	}
}

// Similar returns the known name that a mistyped one most likely means, or "".
func Similar(name string, known []string) string {
	best, distance := "", maxTypos(name)+1
	for _, candidate := range known {
		if strings.EqualFold(candidate, name) {
			return candidate
		}
		if d := typos(strings.ToLower(name), candidate); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// maxTypos is how many typos a recognizable name can have: one in three letters,
// three at most.
func maxTypos(name string) int { return min(len(name)/3, 3) }

// typos counts the letters to insert, delete, replace or swap with their
// neighbour to get from a to b (the optimal string alignment distance; Damerau,
// "A technique for computer detection and correction of spelling errors", 1964).
func typos(a, b string) int {
	if len(a) > len(b)+maxTypos(a) || len(b) > len(a)+maxTypos(a) {
		return maxTypos(a) + 1 // too many for any caller
	}
	var before, last []int // the two rows above
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last = last, row
		row = make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
