package invoice

// amount draws a number of the table flush right. A number wider than its
// column is drawn smaller, never cut.
func (d *drawing) amount(c column, y float64, text string) {
	size := nameSize
	if width := d.set.width(text, size, regular); width > c.width {
		size *= c.width / width
	}
	d.flushRight(c.x, y, size, ink, text, regular)
}

func (d *drawing) text(x, y, size float64, c colour, text string) {
	d.write(x, y, size, c, text, regular)
}

func (d *drawing) bold(x, y, size float64, c colour, text string) { d.write(x, y, size, c, text, bold) }

// flushRight draws text that ends at x.
func (d *drawing) flushRight(x, y, size float64, c colour, text string, w weight) {
	d.write(x-d.set.width(text, size, w), y, size, c, text, w)
}

// write draws clean text that begins at x with its baseline at y.
func (d *drawing) write(x, y, size float64, c colour, text string, w weight) {
	d.pdf.SetTextColor(c.r, c.g, c.b)
	d.pdf.SetFont(fontFamily, fontFaces()[w].style, size)
	d.pdf.Text(x, y, text)
}
