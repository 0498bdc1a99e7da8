package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestSchemasHaveReadableNames(t *testing.T) {
	got := slices.Sorted(maps.Keys(sampleSpec(t).Components.Schemas))
	want := []string{
		"ChangeProduct", "Currency", "FieldError", "HandlersProblem", "Money", "NewProduct", "Problem", "Product", "ProductList",
		"QuotaProblem", "ValidationProblem",
	}
	if !slices.Equal(got, want) {
		t.Errorf("schemas are %q, want %q", got, want)
	}
}

func TestReadableNames(t *testing.T) {
	_, err := readableNames([]string{"models.Order", "models.ShopOrder", "shop.Order"})
	if err == nil || !strings.Contains(err.Error(), "models.ShopOrder and shop.Order") {
		t.Errorf("got %v, want an error that names the two that clash", err)
	}

	names, err := readableNames([]string{
		"handlers.List-models_Product", "handlers.List-string", "handlers.Pair-models_Key-models_Product",
		"handlers.Product", "models.Product", "internal_shop.Order", "Named", "handlers.Trial", "handlers.trial",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"handlers.List-models_Product":            "ProductList",
		"handlers.List-string":                    "StringList",
		"handlers.Pair-models_Key-models_Product": "ProductKeyPair",
		"handlers.Product":                        "HandlersProduct",
		"models.Product":                          "Product",
		"internal_shop.Order":                     "Order",
		"Named":                                   "Named",
		"handlers.Trial":                          "Trial",
		"handlers.trial":                          "TrialRequest",
	}
	if !maps.Equal(names, want) {
		t.Errorf("names are %v, want %v", names, want)
	}
}

func TestWhatTheServerSendsIsDescribedAsItIs(t *testing.T) {
	product := sampleSpec(t).Components.Schemas["Product"].Value
	if product.Description != "One thing that the shop sells." {
		t.Errorf("description is %q, want the type's comment", product.Description)
	}
	want := []string{"id", "name", "note", "old_price", "price", "sold_out_at", "tags", "updated_at"}
	if !slices.Equal(product.Required, want) {
		t.Errorf("required are %q, want all without omitempty: %q", product.Required, want)
	}
	for name, want := range map[string]string{
		"id": "string", "note": "string null", "sold_out_at": "string null", "updated_at": "string", "tags": "array",
	} {
		if got := types(product, name); got != want {
			t.Errorf("%s is of type %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"updated_at", "sold_out_at"} {
		if format := product.Properties[name].Value.Format; format != "date-time" {
			t.Errorf("%s has format %q, want date-time", name, format)
		}
	}
	if product.Properties["secret"] != nil || product.Properties["Secret"] != nil {
		t.Error("a field with json:\"-\" is described")
	}

	old := product.Properties["old_price"].Value.AnyOf
	if len(old) != 2 || old[0].Ref != "#/components/schemas/Money" || !old[1].Value.Type.Is("null") {
		t.Errorf("old_price is %v, want Money or null", old)
	}
}

func TestARequestBodysPointerMayBeAbsentAndNotNull(t *testing.T) {
	body := sampleSpec(t).Components.Schemas["NewProduct"].Value
	if !slices.Equal(body.Required, []string{"name"}) {
		t.Errorf("required are %q, want only what is tagged so: name", body.Required)
	}
	if got := types(body, "note"); got != "string" {
		t.Errorf("note is of type %q, want string", got)
	}
	if max := body.Properties["name"].Value.MaxLength; max == nil || *max != 120 {
		t.Error("name has lost its maxLength of 120")
	}
}

func TestWhatSwagDoesNotKnowIsTakenFromTheTags(t *testing.T) {
	body := sampleSpec(t).Components.Schemas["ChangeProduct"].Value
	if got := slices.Sorted(maps.Keys(body.Properties)); !slices.Equal(got, []string{"counts", "extra", "labels", "name"}) || !slices.Equal(body.Required, []string{"name"}) {
		t.Errorf("properties %q, required %q: want those of the body only", got, body.Required)
	}
	labels, name := body.Properties["labels"].Value, body.Properties["name"].Value
	if name.Pattern != "^[A-Z]" || labels.Items.Value.Pattern != "^[a-z]+$" || labels.MinItems != 1 || labels.MaxItems == nil || *labels.MaxItems != 5 {
		t.Errorf("name %+v, labels %+v", name, labels)
	}
	if !labels.UniqueItems || name.UniqueItems {
		t.Errorf("labels are unique: %v, and the name: %v", labels.UniqueItems, name.UniqueItems)
	}
	if name.Description != "What it is called" || body.Description != "A whole request: path, query, headers and body." {
		t.Errorf("descriptions %q, %q", name.Description, body.Description)
	}
}

func TestAMapsNamesAndValuesAreBounded(t *testing.T) {
	body := sampleSpec(t).Components.Schemas["ChangeProduct"].Value
	extra := body.Properties["extra"].Value
	if extra.MaxItems != nil || extra.MaxLength != nil || extra.MaxProps == nil || *extra.MaxProps != 3 {
		t.Errorf("extra is %+v: want at most 3 members, and nothing else about itself", extra)
	}
	if names := extra.PropertyNames; names == nil || names.Value.MinLength != 1 || names.Value.MaxLength == nil || *names.Value.MaxLength != 8 {
		t.Errorf("its names are %+v: want 1 to 8 characters", names)
	}
	value := extra.AdditionalProperties.Schema.Value
	if value.MaxLength == nil || *value.MaxLength != 20 || !value.Type.Includes("string") || !value.Type.Includes("null") {
		t.Errorf("its values are %+v: want a string of at most 20 characters, or null", value)
	}
	counts := body.Properties["counts"].Value
	number := counts.AdditionalProperties.Schema.Value
	if number.Min == nil || *number.Min != 0 || number.Type.Includes("null") || counts.PropertyNames != nil {
		t.Errorf("counts are %+v of %+v: want numbers from 0, under any name", counts, number)
	}
}

func TestObjectsAreClosedButForProblems(t *testing.T) {
	for name, ref := range sampleSpec(t).Components.Schemas {
		rest := ref.Value.AdditionalProperties
		closed := rest.Has != nil && !*rest.Has
		if open := strings.HasSuffix(name, "Problem") && name != "HandlersProblem"; len(ref.Value.Properties) > 0 && closed == open {
			t.Errorf("%s is closed: %v", name, closed)
		}
	}
}

func TestFieldsOfEmbeddedStructs(t *testing.T) {
	types := &goTypes{structs: map[string]structInfo{
		"models.Base": {fields: []fieldInfo{{name: "id"}}},
		"models.Full": {fields: []fieldInfo{{name: "key"}}, embeds: []string{"models.Base", "models.Unknown"}},
	}}
	var names []string
	for _, field := range types.fieldsOf("models.Full") {
		names = append(names, field.name)
	}
	if !slices.Equal(names, []string{"id", "key"}) {
		t.Errorf("fields are %q, want id and key", names)
	}
}

// types returns the types that a property allows, in alphabetical order.
func types(schema *openapi3.Schema, property string) string {
	allowed := slices.Clone(schema.Properties[property].Value.Type.Slice())
	slices.Sort(allowed)
	if i := slices.Index(allowed, "null"); i >= 0 { // last, as one says it
		allowed = append(slices.Delete(allowed, i, i+1), "null")
	}
	return strings.Join(allowed, " ")
}
