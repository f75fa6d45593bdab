package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Pictures of a terminal, as SVG: a dark frame, which is readable on a light and on a dark page.

var escape = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// plainText is a screen without colours.
func plainText(screen string) string { return escape.ReplaceAllString(screen, "") }

// colours are those of the program, by the number of the escape sequence.
var colours = map[string]string{"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff", "90": "#8b949e"}

const (
	ink, paper, frame = "#e6edf3", "#161b22", "#484f58"

	charWidth, lineHeight, margin, bar = 7.8, 18.0, 16.0, 30.0
)

var xml = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// picture draws a screen.
func picture(title, screen string) string {
	lines := strings.Split(strings.TrimRight(screen, "\n"), "\n")
	widest := 72
	for _, line := range lines {
		widest = max(widest, utf8.RuneCountInString(plainText(line)))
	}
	width, height := 2*margin+charWidth*float64(widest), bar+2*margin+lineHeight*float64(len(lines))-4
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`+"\n", width, height, width, height, xml.Replace(title))
	fmt.Fprintf(&b, "<title>%s</title>\n", xml.Replace(title))
	fmt.Fprintf(&b, `<rect x="0.5" y="0.5" width="%.0f" height="%.0f" rx="8" fill="%s" stroke="%s"/>`+"\n", width-1, height-1, paper, frame)
	for i := range 3 {
		fmt.Fprintf(&b, `<circle cx="%d" cy="17" r="5" fill="%s"/>`+"\n", 20+18*i, frame)
	}
	fmt.Fprintf(&b, `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" fill="%s" xml:space="preserve">`+"\n", ink)
	colour := ""
	for i, line := range lines {
		y := bar + margin + lineHeight*float64(i) + 8
		at, text := 0, line
		draw := func(s string) {
			lead := len(s) - len(strings.TrimLeft(s, " "))
			word := strings.TrimSpace(s)
			if n := utf8.RuneCountInString(word); n > 0 {
				fill := ""
				if colour != "" {
					fill = ` fill="` + colour + `"`
				}
				fmt.Fprintf(&b, `<text x="%.1f" y="%.0f" textLength="%.1f"%s>%s</text>`+"\n", margin+charWidth*float64(at+lead), y, charWidth*float64(n), fill, xml.Replace(word))
			}
			at += utf8.RuneCountInString(s)
		}
		for _, m := range escape.FindAllStringSubmatchIndex(line, -1) {
			draw(text[:m[0]-(len(line)-len(text))])
			for code := range strings.SplitSeq(line[m[2]:m[3]], ";") {
				colour = colours[code] // none for the end of a colour
			}
			text = line[m[1]:]
		}
		draw(text)
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}
