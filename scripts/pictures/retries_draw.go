package main

import (
	"bytes"
	"fmt"
	"strings"
)

// Measures of the picture of retries, in its own pixels.
const (
	retriesHeight = 322
	perSecond     = 3.5  // width of a second
	perDelivery   = 0.1  // height of a delivery
	panel         = 150  // height of one diagram
	bar           = 2.75 // width of a column
)

// drawRetries returns a diagram of the deliveries per second, for each of the
// simulations.
func drawRetries(simulations ...*retried) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title desc">`+"\n", width, retriesHeight)
	var texts []string
	for _, r := range simulations {
		texts = append(texts, r.summary())
	}
	fmt.Fprintf(&b, "<title id=\"title\">Deliveries per second after an outage</title>\n<desc id=\"desc\">%s.</desc>\n", strings.Join(texts, ". "))
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d" rx="6" fill="#fff"/>`+"\n", width, retriesHeight)
	for i, r := range simulations {
		r.drawPanel(&b, float64((i+1)*panel-8))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// drawPanel draws one diagram on a base line.
func (r *retried) drawPanel(b *bytes.Buffer, base float64) {
	at := func(seconds float64) float64 { return round(left + (seconds-shownFrom.Seconds())*perSecond) }
	top := base - failing*perDelivery
	fmt.Fprintf(b, `<g class="line" fill="none" stroke="#8c959f"><path d="M%d %gH%g"/><path stroke-dasharray="2 3" d="M%g %gV%g"/></g>`+"\n",
		left, base, at(shownTo.Seconds()), at(outage.Seconds()), top, base)
	var served, failed bytes.Buffer
	for i := int(shownFrom.Seconds()); i < int(shownTo.Seconds()); i++ {
		x, done := at(float64(i)+0.5), float64(r.served[i])*perDelivery
		if r.served[i] > 0 {
			fmt.Fprintf(&served, "M%g %gv%g", x, base, round(-done))
		}
		if r.failed[i] > 0 {
			fmt.Fprintf(&failed, "M%g %gv%g", x, round(base-done), round(-float64(r.failed[i])*perDelivery))
		}
	}
	fmt.Fprintf(b, `<g fill="none" stroke-width="%g"><path class="admitted" stroke="#177245" d="%s"/><path class="refused" stroke="#b63a0b" d="%s"/></g>`+"\n", bar, &served, &failed)
	b.WriteString(`<g class="text" fill="#1f2328" font-family="system-ui, sans-serif" font-size="12">` + "\n")
	fmt.Fprintf(b, `<text x="%d" y="%g">%s</text><text x="%g" y="%g">the server is up again</text>`, left, top-18, r.summary(), at(outage.Seconds())+4, top-3)
	fmt.Fprintf(b, `<text x="%d" y="%g" text-anchor="end">%d</text><text x="%d" y="%g" text-anchor="end">0</text>`, left-5, top+5, failing, left-5, base+4)
	for seconds := 10; seconds <= 130; seconds += 30 {
		fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="middle">%d s</text>`, at(float64(seconds)), base+15, seconds)
	}
	b.WriteString("\n</g>\n")
}

// summary says what becomes of the messages.
func (r *retried) summary() string {
	name := "Without jitter"
	if r.jitter {
		name = "With full jitter"
	}
	return fmt.Sprintf("%s: %d of %d done, the last after %.0f s; %d dead letters", name, r.done, failing, r.last.Seconds(), r.dead)
}
