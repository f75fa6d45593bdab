package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

const (
	width, height = 18 * vg.Centimeter, 9 * vg.Centimeter
	margin        = 4 * vg.Millimeter
	// barsWidth is the width of all bars of a point.
	barsWidth = 6 * vg.Centimeter
)

// draw writes one chart as SVG.
func draw(file string, s figures.Section, c figures.Chart) error {
	column := slices.IndexFunc(s.Metrics, func(m figures.Metric) bool { return m.Unit == c.Unit })
	if column < 0 {
		return fmt.Errorf("page: %s has no figures in %s", s.Name, c.Unit)
	}
	p := plot.New()
	p.X.Label.TextStyle.Font.Variant, p.X.Tick.Label.Font.Variant, p.Y.Tick.Label.Font.Variant = "Sans", "Sans", "Sans"
	p.X.Label.Text = s.Axis
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	p.Add(grid)
	var err error
	switch {
	case c.Lines:
		err = addLines(p, s, column)
	case len(s.Points) == 1:
		err = addClients(p, s, column)
	default:
		err = addBars(p, s, column)
	}
	if err != nil {
		return err
	}
	if c.Log {
		logarithmic(p)
	} else {
		p.Y.Tick.Marker = shortTicks{plot.DefaultTicks{}}
		p.Y.Min = math.Min(0, p.Y.Min)
		p.Y.Max += (p.Y.Max - p.Y.Min) / 20
	}
	return save(p, file, s, c.Title)
}

// save adds a margin, a background and a style sheet, since a page may be dark.
func save(p *plot.Plot, file string, s figures.Section, title string) error {
	canvas := vgsvg.New(width, height)
	all := vgdraw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	p.Draw(drawHead(vgdraw.Crop(all, margin, -margin, margin, -margin), title, s))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	return os.WriteFile(file, styled(svg.Bytes()), 0o644)
}

// logarithmic scales the axis to whole decades.
func logarithmic(p *plot.Plot) {
	if p.Y.Min <= 0 {
		return // has no logarithm
	}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, shortTicks{plot.LogTicks{Prec: -1}}
	p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(p.Y.Min))), math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
}

func mapped(all []string, to func(string) string) (out []string) {
	for _, s := range all {
		out = append(out, to(s))
	}
	return out
}

// medians returns a client's medians, by point.
func medians(s figures.Section, client string, column int) (all plotter.Values) {
	for _, row := range s.Rows {
		if row.Client == client {
			all = append(all, row.Figures[column].Median)
		}
	}
	return all
}

func addLines(p *plot.Plot, s figures.Section, column int) error {
	colours := colours(s.Clients)
	for _, client := range s.Clients {
		var points plotter.XYs
		for x, y := range medians(s, client, column) {
			points = append(points, plotter.XY{X: float64(x), Y: y})
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, dots.Color = colours[client], colours[client]
		line.Width = vg.Points(1.5)
		p.Add(line, dots)
	}
	p.NominalX(mapped(s.Points, shortPoint)...)
	return nil
}

// addBars draws a group of bars for each point.
func addBars(p *plot.Plot, s figures.Section, column int) error {
	colours := colours(s.Clients)
	each := 2 * barsWidth / vg.Length(len(s.Points)) / vg.Length(len(s.Clients))
	for nth, client := range s.Clients {
		bars, err := plotter.NewBarChart(medians(s, client, column), each)
		if err != nil {
			return err
		}
		bars.Color, bars.LineStyle.Width = colours[client], 0
		bars.Offset = each * (vg.Length(nth) - vg.Length(len(s.Clients)-1)/2)
		p.Add(bars)
	}
	p.NominalX(mapped(s.Points, shortPoint)...)
	p.X.Min, p.X.Max = -0.5, float64(len(s.Points))-0.5
	return nil
}

// addClients draws a bar for each client.
func addClients(p *plot.Plot, s figures.Section, column int) error {
	colours := colours(s.Clients)
	for nth, client := range s.Clients {
		bar, err := plotter.NewBarChart(medians(s, client, column), barsWidth/vg.Length(len(s.Clients)))
		if err != nil {
			return err
		}
		bar.Color, bar.LineStyle.Width, bar.XMin = colours[client], 0, float64(nth)
		p.Add(bar)
	}
	p.NominalX(mapped(s.Clients, name)...)
	p.X.Min, p.X.Max = -0.5, float64(len(s.Clients))-0.5
	return nil
}
