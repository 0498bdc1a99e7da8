package handlers

import (
	"reflect"
	"testing"
)

// keyPatch is the described schema and patchKey the decoded input: they must
// agree.
func TestKeyPatch_matches_input(t *testing.T) {
	described, decoded := reflect.TypeFor[keyPatch](), reflect.TypeFor[patchKey]()
	for field := range described.Fields() {
		other, ok := decoded.FieldByName(field.Name)
		if !ok {
			t.Errorf("%s is described but not decoded", field.Name)
			continue
		}
		for _, tag := range []string{"json", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minName", "maxName", "pattern"} {
			if field.Tag.Get(tag) != other.Tag.Get(tag) {
				t.Errorf("%s: %s is %q in the description and %q in the input", field.Name, tag, field.Tag.Get(tag), other.Tag.Get(tag))
			}
		}
	}
}
