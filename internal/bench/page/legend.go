package main

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

const (
	// rowHeight is that of a row of the legend, swatch the side of its squares.
	rowHeight, swatch = 5 * vg.Millimeter, 3 * vg.Millimeter
	// wider is how much wider than here the font of a reader may be.
	wider = 1.2
)

// style returns the style of text of a size. A plot's own legend puts text before the colour, where a
// wide font runs into it.
func style(size font.Length) text.Style {
	f := font.From(plot.DefaultFont, size)
	f.Variant = "Sans"
	return text.Style{Color: color.Black, Font: f, Handler: plot.DefaultTextHandler}
}

// drawHead draws the title and the legend at the top of a canvas, in as many rows as it takes, and
// returns the rest of the canvas.
func drawHead(c vgdraw.Canvas, title string, s figures.Section) vgdraw.Canvas {
	big := style(12)
	big.XAlign, big.YAlign = text.XCenter, text.YTop
	c.FillText(big, vg.Point{X: (c.Min.X + c.Max.X) / 2, Y: c.Max.Y}, title)
	y := c.Max.Y - 2*rowHeight
	if len(s.Points) == 1 {
		return vgdraw.Crop(c, 0, 0, 0, y-c.Max.Y) // the axis has the names
	}
	small, x := style(10), c.Min.X
	small.YAlign = text.YCenter
	colours := colours(s.Clients)
	for _, client := range s.Clients {
		width := swatch*5/3 + small.Width(name(client))*wider + 2*swatch
		if x > c.Min.X && x+width > c.Max.X {
			x, y = c.Min.X, y-rowHeight
		}
		c.FillPolygon(colours[client], []vg.Point{{X: x, Y: y - swatch/2}, {X: x + swatch, Y: y - swatch/2},
			{X: x + swatch, Y: y + swatch/2}, {X: x, Y: y + swatch/2}})
		c.FillText(small, vg.Point{X: x + swatch*5/3, Y: y}, name(client))
		x += width
	}
	return vgdraw.Crop(c, 0, 0, 0, y-rowHeight-c.Max.Y)
}
