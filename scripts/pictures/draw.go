package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"ratelimiter/ratelimit"
)

// Measures of a picture, in its own pixels.
const (
	width, height = 500, 306
	left          = 38    // of the time begin
	perPeriod     = 102.0 // width of a period
	cell          = 2.0   // height of a request, and of the gap after it
	baseline      = 126   // admitted requests are above it, refused ones below
	floor         = 278   // where no units remain
	full          = 44    // height of the whole capacity above floor
)

// style has the colours of the dark scheme. Those of the light scheme are
// attributes, which apply even where a policy forbids styles.
const style = `<style>@media (prefers-color-scheme: dark) {
.page { fill: #161b22 } .text { fill: #e6edf3 } .line { stroke: #6e7681 }
.admitted { stroke: #56d38c } .refused { stroke: #ff9b70 } .remaining { fill: #1f4d7a; stroke: #79b8ff }
}</style>
`

// draw returns the picture of a trace.
func draw(s *scenario, tr *trace) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title desc">`+"\n", width, height)
	fmt.Fprintf(&b, "<title id=\"title\">What %s admits</title>\n<desc id=\"desc\">%s</desc>\n", s.policy.Algorithm, description(s, tr))
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d" rx="6" fill="#fff"/>`+"\n", width, height)
	drawAxis(&b, s)
	admitted, refused := columns(tr)
	fmt.Fprintf(&b, `<g fill="none" stroke-width="4.3" stroke-dasharray="1.6 0.4">`+"\n")
	fmt.Fprintf(&b, `<path class="admitted" stroke="#177245" d="%s"/>`+"\n", stacks(admitted, -1))
	fmt.Fprintf(&b, `<path class="refused" stroke="#b63a0b" d="%s"/>`+"\n</g>\n", stacks(refused, 1))
	fmt.Fprintf(&b, `<path class="remaining" fill="#cfe3f7" stroke="#1c5d99" stroke-width="1.2" d="%s"/>`+"\n", steps(tr))
	drawTexts(&b, s, tr)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// x returns the horizontal position of a time, in periods.
func x(at float64) float64 { return left + (at-begin)*perPeriod }

// drawAxis draws the lines of both diagrams and one for each period's start.
func drawAxis(b *bytes.Buffer, s *scenario) {
	fmt.Fprintf(b, `<g class="line" fill="none" stroke="#8c959f"><path d="M%d %dH%g M%d %dH%g"/>`, left, baseline, x(end), left, floor, x(end))
	b.WriteString(`<path stroke-dasharray="2 3" d="`)
	for period := math.Ceil(begin); period < end; period++ {
		fmt.Fprintf(b, "M%g 40V%d", x(period), floor)
	}
	b.WriteString("\"/></g>\n<g class=\"text\" fill=\"#1f2328\" font-family=\"system-ui, sans-serif\" font-size=\"12\" text-anchor=\"middle\">\n")
	for period := math.Ceil(begin); period < end; period++ {
		fmt.Fprintf(b, `<text x="%g" y="%d">%s</text>`, x(period), height-10, s.at(period).Format(s.layout))
	}
	b.WriteString("\n</g>\n")
}

// drawTexts names the phases, with the requests admitted, and the diagrams.
func drawTexts(b *bytes.Buffer, s *scenario, tr *trace) {
	admitted, all := tr.counts()
	b.WriteString(`<g class="text" fill="#1f2328" font-family="system-ui, sans-serif" font-size="12" text-anchor="middle">` + "\n")
	for i, p := range pattern {
		middle := (p.from + p.to) / 2
		switch {
		case i > 0 && pattern[i-1].name == p.name:
			continue
		case i+1 < len(pattern) && pattern[i+1].name == p.name:
			middle = (p.from+pattern[i+1].to)/2 + 0.15
		case p.from == p.to:
			middle -= 0.12
		}
		fmt.Fprintf(b, `<text x="%g" y="16">%s</text>`, round(x(middle)), p.name)
		if p.requests > 0 {
			fmt.Fprintf(b, `<text x="%g" y="31">%d of %d</text>`, round(x(middle)), admitted[p.name], all[p.name])
		}
		b.WriteString("\n")
	}
	label := "admitted"
	if s.policy.Algorithm == ratelimit.LeakyBucket {
		label = "starts"
	}
	b.WriteString("</g>\n" + `<g class="text" fill="#1f2328" font-family="system-ui, sans-serif" font-size="12" text-anchor="end">` + "\n")
	fmt.Fprintf(b, `<text x="%g" y="%d">%s ↑</text><text x="%g" y="%d">refused ↓</text>`, x(end), baseline-8, label, x(end), baseline+17)
	fmt.Fprintf(b, `<text x="%g" y="%d">remaining</text>`, x(end), floor-full-6)
	fmt.Fprintf(b, `<text x="%d" y="%d">%d</text><text x="%d" y="%d">0</text>`+"\n</g>\n", left-5, floor-full+5, tr.capacity, left-5, floor+4)
}

// columns returns the numbers of admitted and refused requests in each column.
// An admitted request is in the column of the time when it starts.
func columns(tr *trace) (admitted, refused []int) {
	index := func(at float64) int { return int((at-begin)/column + 0.001) }
	admitted, refused = make([]int, index(end)), make([]int, index(end))
	for _, r := range tr.requests {
		if r.admitted {
			admitted[index(r.starts)]++
		} else {
			refused[index(r.at)]++
		}
	}
	return admitted, refused
}

// stacks returns a path with one line for each column; direction is -1 for up.
func stacks(counts []int, direction float64) string {
	var b bytes.Buffer
	for i, n := range counts {
		if n > 0 {
			fmt.Fprintf(&b, "M%g %gv%g", round(x(begin+(float64(i)+0.5)*column)), baseline+direction, direction*cell*float64(n))
		}
	}
	return b.String()
}

// steps returns the area of the remaining units.
func steps(tr *trace) string {
	var b bytes.Buffer
	y := func(remaining int64) float64 {
		return round(floor - full*float64(remaining)/float64(tr.capacity))
	}
	fmt.Fprintf(&b, "M%d %dV%g", left, floor, y(tr.remaining[0]))
	for i := 1; i < len(tr.remaining); i++ {
		if tr.remaining[i] != tr.remaining[i-1] {
			fmt.Fprintf(&b, "H%gV%g", round(x(begin+float64(i)*step)), y(tr.remaining[i]))
		}
	}
	fmt.Fprintf(&b, "H%gV%dZ", x(end), floor)
	return b.String()
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// description describes a picture to those who can't see it.
func description(s *scenario, tr *trace) string {
	admitted, all := tr.counts()
	text := fmt.Sprintf("Limit %d.", s.policy.Limit)
	if s.policy.Period != "" {
		text = fmt.Sprintf("Limit %d per %s.", s.policy.Limit, map[ratelimit.Period]string{"1m": "minute", ratelimit.Day: "day"}[s.policy.Period])
	}
	var results []string
	for i, p := range pattern {
		if p.requests > 0 && (i == 0 || pattern[i-1].name != p.name) {
			results = append(results, fmt.Sprintf("%d of %d (%s)", admitted[p.name], all[p.name], p.name))
		}
	}
	return text + " Requests admitted: " + strings.Join(results, ", ") + ". Below them, the units that remain."
}
