package shop

import "testing"

// Requests wait for no other owner's, and are refused for none.
func TestEveryOwnersKeyHasALockOfItsOwn(t *testing.T) {
	locks := map[int64]string{}
	for _, of := range [][2]string{{"a", "k"}, {"b", "k"}, {"a", "l"}, {"ab", ""}, {"", "ab"}} {
		name := of[0] + "/" + of[1]
		if other, taken := locks[lockOf(of[0], of[1])]; taken {
			t.Errorf("%s and %s have one lock", name, other)
		}
		locks[lockOf(of[0], of[1])] = name
	}
}
