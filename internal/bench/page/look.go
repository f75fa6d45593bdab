package main

import (
	"bytes"
	"fmt"
	"image/color"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// names are those of the README for the clients whose own names say too little.
var names = map[string]string{
	"bare":           "bare loop",
	"go-nsq-async":   "go-nsq, async",
	"go-nsq-json":    "go-nsq, encoding/json",
	"go-nsq-multi":   "go-nsq, 100 a call",
	"nsqx-async":     "nsqx, async",
	"nsqx-batch":     "nsqx, batches of 500",
	"nsqx-batched":   "nsqx, Batched",
	"nsqx-fixed":     "nsqx, fixed RDY",
	"nsqx-goccy":     "nsqx, goccy/go-json",
	"nsqx-json":      "nsqx, encoding/json",
	"nsqx-lent":      "nsqx, body in place",
	"nsqx-multi":     "nsqx, 100 a call",
	"nsqx-noop":      "nsqx, no-op",
	"nsqx-sdk":       "nsqx, metrics",
	"nsqx-segmentio": "nsqx, segmentio",
	"nsqx-spans":     "nsqx, spans",
}

// name returns what the page calls a client.
func name(client string) string {
	if n, ok := names[client]; ok {
		return n
	}
	return client
}

// short abbreviates a number of an axis: 3k, 2.5M.
func short(n float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size || n <= -unit.size {
			return strconv.FormatFloat(n/unit.size, 'g', 4, 64) + unit.name
		}
	}
	return strconv.FormatFloat(n, 'g', 4, 64)
}

// shortPoint abbreviates the label of a point that is a number of thousands.
func shortPoint(label string) string {
	if n, err := strconv.Atoi(label); err == nil && n >= 1000 && n%1000 == 0 {
		return short(float64(n))
	}
	return label
}

// shortTicks abbreviates the labels of other ticks.
type shortTicks struct{ plot.Ticker }

func (s shortTicks) Ticks(least, most float64) []plot.Tick {
	all := s.Ticker.Ticks(least, most)
	for i, t := range all {
		if t.Label != "" {
			all[i].Label = short(t.Value)
		}
	}
	return all
}

// Each client has the same colour on all charts. The palette, Okabe's and Ito's, suits colour-blind
// readers.
var (
	known = map[string]color.Color{
		"bare":   color.RGBA{R: 0x80, G: 0x80, B: 0x80, A: 0xff},
		"go-nsq": color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
		"nsqx":   color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	}
	others = []color.Color{
		color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
		color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
		color.RGBA{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff},
		color.RGBA{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff},
	}
)

// colours returns the colours of one section's clients.
func colours(clients []string) map[string]color.Color {
	all := maps.Clone(known)
	next := 0
	for _, client := range clients {
		if _, ok := all[client]; !ok {
			all[client] = others[next%len(others)]
			next++
		}
	}
	return all
}

// dark has the colours of a page with a dark background, by those of a light one. Others suit both.
var dark = map[string]string{
	"#FFFFFF": "#0D1117", // background
	"#000000": "#9198A1", // axes
	"#0072B2": "#2F81F7",
	"#D55E00": "#EC7A2B",
	"#009E73": "#1FB88C",
}

// styled adds a style sheet to a chart: the fonts of the reader, and the colours of a dark page if the
// reader prefers one. A program that knows no style sheets shows the light chart.
func styled(svg []byte) []byte {
	var css strings.Builder
	css.WriteString("<style>\ntext { font-family: \"Liberation Sans\", Arial, Helvetica, sans-serif !important }\n" +
		"@media (prefers-color-scheme: dark) {\ntext { fill: #D1D7E0 }\n")
	for _, light := range slices.Sorted(maps.Keys(dark)) {
		for _, property := range []string{"fill", "stroke"} {
			fmt.Fprintf(&css, "[style*=%q] { %s: %s !important }\n", property+":"+light, property, dark[light])
		}
	}
	css.WriteString("}\n</style>\n")
	head, rest, _ := bytes.Cut(svg, []byte("<g "))
	return slices.Concat(head, []byte(css.String()), []byte("<g "), rest)
}
