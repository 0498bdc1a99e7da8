package handlers

import (
	"reflect"
	"testing"
)

// The description shows keyPatch, and patchKey is what is read: they have to say
// the same.
func TestTheDescribedPatchIsTheOneThatIsRead(t *testing.T) {
	described, read := reflect.TypeFor[keyPatch](), reflect.TypeFor[patchKey]()
	for field := range described.Fields() {
		other, there := read.FieldByName(field.Name)
		if !there {
			t.Errorf("%s is described and not read", field.Name)
			continue
		}
		for _, tag := range []string{"json", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minName", "maxName", "pattern"} {
			if field.Tag.Get(tag) != other.Tag.Get(tag) {
				t.Errorf("%s: %s is described as %q and read as %q", field.Name, tag, field.Tag.Get(tag), other.Tag.Get(tag))
			}
		}
	}
}
