package invoice

// amount draws a number of the table flush right, smaller where it wouldn't
// fit its column: a number is never cut.
func (d *drawing) amount(c column, y float64, text string) {
	size := nameSize
	if wide := d.set.width(text, size, false); wide > c.width {
		size *= c.width / wide
	}
	d.flushRight(c.x, y, size, ink, text, false)
}

func (d *drawing) text(x, y, size float64, c colour, text string) {
	d.write(x, y, size, c, text, false)
}

func (d *drawing) bold(x, y, size float64, c colour, text string) { d.write(x, y, size, c, text, true) }

// flushRight draws text that ends at x.
func (d *drawing) flushRight(x, y, size float64, c colour, text string, heavy bool) {
	d.write(x-d.set.width(text, size, heavy), y, size, c, text, heavy)
}

// write draws clean text from x, with its baseline at y, each run in the font
// that has it. Fonts are added when they are needed first: the East Asian one
// alone makes a drawing several times as dear.
func (d *drawing) write(x, y, size float64, c colour, text string, heavy bool) {
	d.pdf.SetTextColor(c.r, c.g, c.b)
	for _, r := range d.set.runs(text, heavy) {
		f := faces()[r.face]
		if !d.has[r.face] {
			d.pdf.AddUTF8FontFromBytes(f.family, f.style, []byte(f.data))
			d.has[r.face] = true
		}
		d.pdf.SetFont(f.family, f.style, size)
		d.pdf.Text(x, y, r.text)
		x += r.width / 1000 * size * millimetresPerPoint
	}
}
