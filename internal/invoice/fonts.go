package invoice

import (
	_ "embed"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// The fonts; fonts/README.md lists their coverage and origin. They are strings
// so that each drawing gets its own copy: fpdf modifies the bytes of a font.
var (
	//go:embed fonts/NotoSans-Regular.ttf
	notoSans string
	//go:embed fonts/NotoSans-Bold.ttf
	notoSansBold string
)

// fontFamily is the name of the fonts in fpdf.
const fontFamily = "sans"

// weight selects a font of the family. Both have the same characters.
type weight int

const (
	regular weight = iota
	bold
	weightCount
)

// fontFace is one font of the family.
type fontFace struct {
	style  string // in fpdf
	data   string
	parsed *sfnt.Font
}

// fontFaces parses the fonts once. A parsed font is safe for concurrent use by
// readers that each have their own buffer.
var fontFaces = sync.OnceValue(func() [weightCount]fontFace {
	faces := [...]fontFace{regular: {data: notoSans}, bold: {style: "B", data: notoSansBold}}
	for i := range faces {
		parsed, err := sfnt.Parse([]byte(faces[i].data))
		if err != nil { // the fonts are embedded
			panic(err)
		}
		faces[i].parsed = parsed
	}
	return faces
})

// typesetter measures and wraps text. It belongs to one drawing and is not safe
// for concurrent use.
type typesetter struct {
	buffer   sfnt.Buffer
	advances [weightCount]map[rune]float64
}

func newTypesetter() *typesetter {
	return &typesetter{advances: [weightCount]map[rune]float64{regular: {}, bold: {}}}
}

// noGlyph is the advance of a character that the font doesn't have.
const noGlyph = -1

// firstUndrawable is the first code point that can't be drawn: fpdf writes
// UCS-2 and reserves its last value.
const firstUndrawable = 0xFFFF

// advance returns the width of r in thousandths of the font size, or noGlyph.
func (t *typesetter) advance(r rune, w weight) float64 {
	width, cached := t.advances[w][r]
	if !cached {
		width = t.measure(r, fontFaces()[w].parsed)
		t.advances[w][r] = width
	}
	return width
}

// perMille makes sfnt return widths in thousandths of the font size.
var perMille = fixed.I(1000)

func (t *typesetter) measure(r rune, parsed *sfnt.Font) float64 {
	index, err := parsed.GlyphIndex(&t.buffer, r)
	if err != nil || index == 0 || r >= firstUndrawable {
		return noGlyph
	}
	advance, err := parsed.GlyphAdvance(&t.buffer, index, perMille, font.HintingNone)
	if err != nil {
		return noGlyph
	}
	return float64(advance.Round())
}

// millimetresPerPoint follows from an inch of 25.4 mm or 72 points.
const millimetresPerPoint = 25.4 / 72

// width returns the width of clean text in millimetres, at a size in points.
func (t *typesetter) width(text string, points float64, w weight) float64 {
	var sum float64
	for _, r := range text {
		sum += t.advance(r, w)
	}
	return sum / 1000 * points * millimetresPerPoint
}
