package invoice

import (
	_ "embed"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// What each font has, and where it is from: fonts/README.md. They are strings,
// for fpdf gets a copy of its own: it writes into a font that it cuts.
var (
	//go:embed fonts/NotoSans-Regular.ttf
	notoSans string
	//go:embed fonts/NotoSans-Bold.ttf
	notoSansBold string
	//go:embed fonts/DroidSansFallbackFull.ttf
	droidSansFallback string
	//go:embed fonts/NanumSquareR.ttf
	nanumSquare string
)

// faceID is a font's place in faces.
type faceID int

// The fonts. A letter is drawn in the first one that has it.
const (
	plain faceID = iota
	eastAsian
	korean
	faceCount
	bold = faceCount // has the letters of plain; for our own words only
)

// face is one font.
type face struct {
	family, style string // as fpdf knows it
	data          string
	parsed        *sfnt.Font
}

// faces parses all fonts, once for all drawings: sfnt fonts may be read at the
// same time, each reader with its own buffer.
var faces = sync.OnceValue(func() [faceCount + 1]face {
	list := [...]face{
		plain:     {family: "sans", data: notoSans},
		eastAsian: {family: "han", data: droidSansFallback},
		korean:    {family: "hangul", data: nanumSquare},
		bold:      {family: "sans", style: "B", data: notoSansBold},
	}
	for i := range list {
		parsed, err := sfnt.Parse([]byte(list[i].data))
		if err != nil { // they are embedded: a test draws with each
			panic(err)
		}
		list[i].parsed = parsed
	}
	return list
})

// glyph is how a letter is drawn.
type glyph struct {
	face  faceID
	width float64 // thousandths of the font's size
	known bool    // some font has it
}

// typesetter knows how letters are drawn. It is for one drawing, in one
// goroutine.
type typesetter struct {
	buffer sfnt.Buffer
	seen   map[rune]glyph
	heavy  map[rune]glyph // in bold
}

func newTypesetter() *typesetter {
	return &typesetter{seen: map[rune]glyph{}, heavy: map[rune]glyph{}}
}

// beyond is the first letter that can't be drawn: fpdf writes two bytes a
// letter, and knows the last of them as "no letter".
const beyond = 0xFFFF

// glyph returns how r is drawn; one that isn't known has no width.
func (t *typesetter) glyph(r rune) glyph {
	if g, seen := t.seen[r]; seen {
		return g
	}
	var g glyph
	for id := plain; id < faceCount && r < beyond && !g.known; id++ {
		g = t.look(id, r)
	}
	t.seen[r] = g
	return g
}

// boldGlyph is glyph for the bold font, where that has r.
func (t *typesetter) boldGlyph(r rune) glyph {
	g, seen := t.heavy[r]
	if !seen {
		if g = t.look(bold, r); !g.known || r >= beyond {
			g = t.glyph(r)
		}
		t.heavy[r] = g
	}
	return g
}

// perMille asks for widths in thousandths of the font's size.
var perMille = fixed.I(1000)

func (t *typesetter) look(id faceID, r rune) glyph {
	parsed := faces()[id].parsed
	index, err := parsed.GlyphIndex(&t.buffer, r)
	if err != nil || index == 0 {
		return glyph{}
	}
	advance, err := parsed.GlyphAdvance(&t.buffer, index, perMille, font.HintingNone)
	if err != nil {
		return glyph{}
	}
	return glyph{face: id, width: float64(advance.Round()), known: true}
}

// run is a stretch of text in one font.
type run struct {
	face  faceID
	text  string
	width float64 // thousandths of the font's size
}

// runs splits text by the fonts that have its letters, which clean has seen to.
func (t *typesetter) runs(text string, heavy bool) []run {
	var list []run
	start := 0
	for i, r := range text {
		g := t.glyph(r)
		if heavy {
			g = t.boldGlyph(r)
		}
		if last := len(list) - 1; last < 0 || list[last].face != g.face {
			if last >= 0 {
				list[last].text = text[start:i]
			}
			list, start = append(list, run{face: g.face}), i
		}
		list[len(list)-1].width += g.width
	}
	if last := len(list) - 1; last >= 0 {
		list[last].text = text[start:]
	}
	return list
}

// inch is 25.4 mm and 72 points.
const millimetresPerPoint = 25.4 / 72

// width returns how wide text is at a size in points, in millimetres.
func (t *typesetter) width(text string, points float64, heavy bool) float64 {
	var sum float64
	for _, r := range t.runs(text, heavy) {
		sum += r.width
	}
	return sum / 1000 * points * millimetresPerPoint
}
