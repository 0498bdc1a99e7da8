package binding

import (
	"cmp"
	"fmt"
	"net/mail"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rules are the parsed tags of a field. The API description is generated from
// the same tags.
type rules struct {
	required  bool
	byDefault string
	length    bounds // in characters
	value     bounds
	items     bounds
	names     bounds // in characters, of the names of a map
	enums     []string
	email     bool
	pattern   *regexp.Regexp
	says      string // message for a text that doesn't match pattern
}

// whiteSpace replaces white space classes by those of ECMA-262, whose regular
// expressions JSON Schema uses (section 6.4). RE2's are ASCII only.
var whiteSpace = strings.NewReplacer(`\S`, `[^\t-\r\p{Z}\x{feff}]`, `\s`, `[\t-\r\p{Z}\x{feff}]`)

// bounds are inclusive; nil: none.
type bounds struct{ least, most *int64 }

func rulesOf(field reflect.StructField) rules {
	tag := field.Tag
	r := rules{
		required:  slices.Contains(strings.Split(tag.Get("validate"), ","), "required"),
		byDefault: tag.Get("default"),
		length:    bounds{numberOf(tag, "minLength"), numberOf(tag, "maxLength")},
		value:     bounds{numberOf(tag, "minimum"), numberOf(tag, "maximum")},
		items:     bounds{numberOf(tag, "minItems"), numberOf(tag, "maxItems")},
		names:     bounds{numberOf(tag, "minName"), numberOf(tag, "maxName")},
		email:     tag.Get("format") == "email",
		says:      cmp.Or(tag.Get("says"), "must match "+tag.Get("pattern")),
	}
	if enums := tag.Get("enums"); enums != "" {
		r.enums = strings.Split(enums, ",")
	}
	if pattern := tag.Get("pattern"); pattern != "" {
		r.pattern = regexp.MustCompile(whiteSpace.Replace(pattern))
	}
	return r
}

func numberOf(tag reflect.StructTag, name string) *int64 {
	text, there := tag.Lookup(name)
	if !there {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("binding: the tag %s:%q is no whole number", name, text))
	}
	return &n
}

// check reports faults of a value that could be read.
func (r *rules) check(v reflect.Value, fault func(code, message string)) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		r.text(v.String(), fault)
	case reflect.Int, reflect.Int64:
		r.value.check(v.Int(), "be", "", "", fault)
	case reflect.Slice, reflect.Map:
		r.items.check(int64(v.Len()), "have", "item", "_items", fault)
	default:
	}
}

func (r *rules) text(s string, fault func(code, message string)) {
	if s == "" && r.length.least != nil && *r.length.least > 0 {
		fault("min_length", "must not be empty")
		return
	}
	switch {
	case r.length.check(characters(s), "have", "character", "_length", fault):
	case len(r.enums) > 0 && !slices.Contains(r.enums, s):
		fault("enum", "must be one of "+strings.Join(r.enums, ", "))
	case r.email && !isEmail(s):
		fault("email", "must be an email address, such as a@example.com")
	case r.pattern != nil && !r.pattern.MatchString(s):
		fault("pattern", r.says)
	}
}

func characters(s string) int64 { return int64(utf8.RuneCountInString(s)) }

// check reports whether n is out of bounds, with a fault of code min or max plus
// suffix.
func (b bounds) check(n int64, verb, unit, suffix string, fault func(code, message string)) bool {
	code, phrase, bound := "min", "at least", b.least
	if b.most != nil && n > *b.most {
		code, phrase, bound = "max", "at most", b.most
	} else if b.least == nil || n >= *b.least {
		return false
	}
	message := fmt.Sprintf("must %s %s %d", verb, phrase, *bound)
	switch {
	case unit == "":
	case *bound == 1:
		message += " " + unit
	default:
		message += " " + unit + "s"
	}
	fault(code+suffix, message)
	return true
}

// isEmail reports whether s is one bare address (RFC 5322), without a name and
// without invisible characters.
func isEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	hidden := func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }
	return err == nil && address.Name == "" && address.Address == s && !strings.ContainsFunc(s, hidden)
}
