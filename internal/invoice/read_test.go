package invoice

import (
	"bytes"
	"compress/zlib"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// word is a piece of text on a page. Coordinates are points from the lower left
// corner.
type word struct {
	page int // from 1
	x, y float64
	size float64 // of the font
	text string
}

// document is a parsed PDF.
type document struct {
	pages   int
	words   []word
	streams [][]byte // inflated, in file order
}

var (
	streamStart = regexp.MustCompile(`<<[^<>]*(?:<<[^<>]*>>[^<>]*)*/Length (\d+)[^<>]*>>\nstream\n`)
	pageObject  = regexp.MustCompile(`/Type /Page\n`)
	shown       = regexp.MustCompile(`(?s)BT /F\w+ ([\d.]+) Tf ET|BT ([\d.-]+) ([\d.-]+) Td \(((?:[^\\()]|\\.)*)\) ?Tj ET`)
)

// read parses a PDF and decodes the text of its pages.
func read(t testing.TB, pdf []byte) document {
	t.Helper()
	if !bytes.HasPrefix(pdf, []byte("%PDF-1.")) || !bytes.HasSuffix(bytes.TrimSpace(pdf), []byte("%%EOF")) {
		t.Fatalf("not a PDF: %.40q", pdf)
	}
	var doc document
	for rest := pdf; ; {
		at := streamStart.FindSubmatchIndex(rest)
		if at == nil {
			break
		}
		doc.pages += len(pageObject.FindAll(rest[:at[0]], -1))
		length, _ := strconv.Atoi(string(rest[at[2]:at[3]]))
		data := rest[at[1] : at[1]+length]
		rest = rest[at[1]+length:]
		if inflated, err := zlib.NewReader(bytes.NewReader(data)); err == nil {
			if data, err = io.ReadAll(inflated); err != nil {
				t.Fatal(err)
			}
		}
		doc.streams = append(doc.streams, data)
		doc.words = append(doc.words, readWords(t, data, doc.pages)...)
	}
	return doc
}

func readWords(t testing.TB, content []byte, page int) []word {
	var words []word
	var size float64
	for _, m := range shown.FindAllSubmatch(content, -1) {
		if m[1] != nil {
			size, _ = strconv.ParseFloat(string(m[1]), 64)
			continue
		}
		x, _ := strconv.ParseFloat(string(m[2]), 64)
		y, _ := strconv.ParseFloat(string(m[3]), 64)
		words = append(words, word{page: page, x: x, y: y, size: size, text: decode(t, m[4])})
	}
	return words
}

// decode decodes a PDF string: escaped bytes of big-endian UTF-16.
func decode(t testing.TB, escaped []byte) string {
	t.Helper()
	var plain []byte
	for i := 0; i < len(escaped); i++ {
		if escaped[i] == '\\' {
			i++
			if escaped[i] == 'r' {
				plain = append(plain, '\r')
				continue
			}
		}
		plain = append(plain, escaped[i])
	}
	if len(plain)%2 != 0 {
		t.Fatalf("odd number of bytes in %q", escaped)
	}
	var units []uint16
	for pair := range slices.Chunk(plain, 2) {
		units = append(units, uint16(pair[0])<<8|uint16(pair[1]))
	}
	return string(utf16.Decode(units))
}

// lines returns the lines of a page from top to bottom, with a bar between the
// words of a line.
func (d *document) lines(page int) []string {
	byHeight := map[float64][]word{}
	var heights []float64
	for _, w := range d.words {
		if w.page != page {
			continue
		}
		if byHeight[w.y] == nil {
			heights = append(heights, w.y)
		}
		byHeight[w.y] = append(byHeight[w.y], w)
	}
	slices.Sort(heights)
	slices.Reverse(heights)
	var lines []string
	for _, y := range heights {
		words := byHeight[y]
		slices.SortStableFunc(words, func(a, b word) int { return int(1000 * (a.x - b.x)) })
		var texts []string
		for _, w := range words {
			texts = append(texts, w.text)
		}
		lines = append(lines, strings.Join(texts, "|"))
	}
	return lines
}

// text returns the lines of all pages.
func (d *document) text() string {
	var all []string
	for page := 1; page <= d.pages; page++ {
		all = append(all, d.lines(page)...)
	}
	return strings.Join(all, "\n")
}
