package invoice

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ratelimiter/models"
)

func TestDraw_name(t *testing.T) {
	for name, want := range map[string]string{
		"Größe Ærø Łódź İstanbul": "Größe Ærø Łódź İstanbul",
		"Καφετιέρα ελληνική":      "Καφετιέρα ελληνική",
		"Кофемолка, 30 г":         "Кофемолка, 30 г",
		"mixed 茶 잔 ж":             "mixed \ufffd \ufffd ж",
		"Cafe\u0301":              "Café",
		"tab\tand\r\nline\u2028s": "tab and line s",
		"\x00\x1b[31m\u0085red":   "[31m red",
		"right\u202eleft\u200d":   "rightleft",
		"a\ufe0f b":               "a b",
		"bad \xff\xfe bytes":      "bad \ufffd bytes",
		"שלום 🎉 \U00020000":       "\ufffd\ufffd\ufffd\ufffd \ufffd \ufffd",
		"  ":                      "prd_0",
		`(a) \) \\ (`:             `(a) \) \\ (`,
		") Tj ET endstream":       ") Tj ET endstream",
	} {
		_, doc := draw(t, named(order(1), name))
		got := ""
		for _, line := range doc.lines(1) {
			if fields := strings.Split(line, "|"); fields[0] == "1" {
				got = fields[1]
			}
		}
		if got != want {
			t.Errorf("name %q: got %q; want %q", name, got, want)
		}
	}
}

func TestTypesetter_wrap(t *testing.T) {
	set := newTypesetter()
	for _, test := range []struct {
		text     string
		maxLines int
		want     []string
	}{
		{"one two three four", 9, []string{"one two", "three four"}},
		{"semi-automatic", 9, []string{"semi-", "automatic"}},
		{"unbreakablethings", 9, []string{"unbreaka", "blethings"}},
		{"one two three fours", 2, []string{"one two", "three fo…"}},
		{"unbreakablethings", 1, []string{"unbreak…"}},
		{"aaaaaaaae\u0301\u0323bbb", 9, []string{"aaaaaaaa", "e\u0301\u0323bbb"}}, // combining marks stay with their base
		{"", 9, nil},
	} {
		got := set.wrap(test.text, 17, 10, test.maxLines)
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("wrap(%q) = %q; want %q", test.text, got, test.want)
		}
	}
}

func TestNewRow_long_name(t *testing.T) {
	set := newTypesetter()
	inv := named(order(1), strings.Repeat("wide ", 100_000))
	r := newRow(set, inv, 0)
	if len(r.name) != maxNameLines || !strings.HasSuffix(r.name[maxNameLines-1], ellipsis) {
		t.Errorf("got lines %q; want %d, the last one cut", r.name, maxNameLines)
	}
	for _, line := range r.name {
		if width := set.width(line, nameSize, regular); width > columns.name.width {
			t.Errorf("%q is %.1f mm wide; want at most %.1f", line, width, columns.name.width)
		}
	}
}

// FuzzDraw checks that any order can be drawn: each item once, all text within
// the margins.
func FuzzDraw(f *testing.F) {
	for i, name := range names {
		f.Add(name, "SKU-1", "a@example.com", "ord_1", "EUR", int64(i), int64(1), uint8(i*9))
	}
	f.Add("\x00\xff", "\u202e", "", "", "", int64(1)<<62, int64(1), uint8(200))
	f.Fuzz(func(t *testing.T, name, sku, email, id, currency string, amount, quantity int64, count uint8) {
		inv := order(int(count) % 201)
		inv.Order.Email, inv.Order.ID, inv.Order.Total.Currency = head(email, 254), id, currency
		if len(inv.Order.Items) > 0 {
			inv.Order.Items[0].UnitPrice = models.Money{Amount: amount, Currency: currency}
			inv.Order.Items[0].Quantity = quantity
			inv.Products["prd_0"] = models.InvoiceProduct{SKU: sku, Name: name}
		}
		pdf, err := Draw(context.Background(), inv)
		if err != nil {
			t.Fatal(err)
		}
		doc := read(t, pdf)
		if doc.pages == 0 || doc.pages > 12 {
			t.Errorf("got %d pages; want 1 to 12", doc.pages)
		}
		for i := 1; i < len(inv.Order.Items); i++ {
			if line := "\n" + rowStart(i) + "|"; strings.Count("\n"+doc.text(), line) != 1 {
				t.Errorf("item %d is drawn %d times; want 1", i, strings.Count(doc.text(), line))
			}
		}
		checkBounds(t, doc)
	})
}

// rowStart returns the begin of the row of sample item i.
func rowStart(i int) string {
	return strings.Join([]string{money(int64(i+1), "JPY"), "Product number " + money(int64(i), "JPY")}, "|")
}

// checkBounds tests that all text is within the margins.
func checkBounds(t *testing.T, doc document) {
	t.Helper()
	const slack = 0.1 // millimetres: coordinates are rounded
	set := newTypesetter()
	for _, w := range doc.words {
		left, top := w.x*millimetresPerPoint, pageHeight-w.y*millimetresPerPoint
		if left < margin-slack || top < margin-slack || top > pageHeight-10 {
			t.Errorf("%q is at %.1f, %.1f, outside the margins", w.text, left, top)
		}
		if end := left + set.width(w.text, w.size, regular); end > right+slack {
			t.Errorf("%q ends at %.1f; want at most %.1f", w.text, end, right)
		}
	}
}

func TestDraw_random_names(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2 {
		inv := order(40)
		for i, item := range inv.Order.Items {
			var name strings.Builder
			for range random.IntN(80) {
				name.WriteRune(rune(random.IntN(0x11000))) // the basic plane and part of the next
			}
			inv.Products[item.ProductID] = models.InvoiceProduct{Name: name.String(), SKU: inv.Products[item.ProductID].SKU}
			inv.Order.Items[i].Quantity = 1
		}
		_, doc := draw(t, inv)
		checkBounds(t, doc)
		for i := range inv.Order.Items {
			if n := strings.Count(doc.text(), fmt.Sprintf("|SKU-%04d|1|", i)); n != 1 {
				t.Errorf("item %d is drawn %d times; want 1", i, n)
			}
		}
	}
}

func money(amount int64, currency string) string {
	return models.Money{Amount: amount, Currency: currency}.Format()
}
