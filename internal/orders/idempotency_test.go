package orders

import "testing"

func TestLockOf_distinct(t *testing.T) {
	locks := map[int64]string{}
	for _, of := range [][2]string{{"a", "k"}, {"b", "k"}, {"a", "l"}, {"ab", ""}, {"", "ab"}} {
		name := of[0] + "/" + of[1]
		if other, ok := locks[lockOf(of[0], of[1])]; ok {
			t.Errorf("%s and %s share a lock", name, other)
		}
		locks[lockOf(of[0], of[1])] = name
	}
}
