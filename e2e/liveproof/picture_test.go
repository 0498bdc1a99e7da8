package liveproof

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// pictureStyle has the colours of the dark scheme.
const pictureStyle = `<style>@media (prefers-color-scheme: dark) {
.page { fill: #161b22 } .text { fill: #e6edf3 } .line { stroke: #6e7681 } .p50 { fill: #79b8ff } .p99 { fill: #1f4d7a }
}</style>
`

// drawLatencies draws p50 and p99 of each measurement as bars on a logarithmic scale
// from 1 ms to 10 s.
func drawLatencies(all []measured) []byte {
	const left, perDecade, row = 170, 90, 24
	x := func(d time.Duration) float64 {
		return left + perDecade*max(0, math.Log10(float64(d)/float64(time.Millisecond)))
	}
	height := 40 + row*len(all)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 %d" role="img" aria-labelledby="title">`+"\n", height)
	b.WriteString("<title id=\"title\">Latency of events by way and number of watchers: median and 99th percentile</title>\n" + pictureStyle)
	fmt.Fprintf(&b, `<rect class="page" width="560" height="%d" rx="6" fill="#fff"/>`+"\n", height)
	for decade, label := range []string{"1 ms", "10 ms", "100 ms", "1 s", "10 s"} {
		at := left + perDecade*decade
		fmt.Fprintf(&b, `<path class="line" stroke="#8c959f" stroke-dasharray="2 3" d="M%d 26V%d"/><text class="text" fill="#1f2328" font-family="system-ui, sans-serif" font-size="12" text-anchor="middle" x="%d" y="18">%s</text>`+"\n", at, height-8, at, label)
	}
	for i, m := range all {
		y := 34 + row*i
		fmt.Fprintf(&b, `<text class="text" fill="#1f2328" font-family="system-ui, sans-serif" font-size="12" x="10" y="%d">%s, %d</text>`, y+12, m.way, m.watchers)
		fmt.Fprintf(&b, `<rect class="p99" fill="#a9cbee" x="%d" y="%d" width="%.0f" height="14"/><rect class="p50" fill="#1c5d99" x="%d" y="%d" width="%.0f" height="14"/>`+"\n",
			left, y, max(1, x(m.p99)-left), left, y, max(1, x(m.p50)-left))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
