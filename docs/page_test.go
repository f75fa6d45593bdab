// Package docs_test checks the pages: their Go compiles, their links lead somewhere, and what they name exists.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// page is a file of Markdown.
type page struct {
	name   string // from the root of the repository
	lines  []string
	blocks []block
}

// block is a fenced block of a page, or a hidden one: a comment that begins with a line "<!-- go".
type block struct {
	language string
	hidden   bool
	line     int // number of its first line
	text     string
}

// pages returns the pages below dirs, or in them alone if they do not end in "/...". Names and dirs are
// relative to the root of the repository.
func pages(t *testing.T, dirs ...string) []*page {
	t.Helper()
	var all []*page
	for _, dir := range dirs {
		dir, below := strings.CutSuffix(dir, "/...")
		err := filepath.WalkDir(filepath.Join("..", dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			relative, err := filepath.Rel("..", name)
			if err != nil {
				return err
			}
			if d.IsDir() && relative != dir && (!below || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			if d.IsDir() || filepath.Ext(name) != ".md" {
				return nil
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			all = append(all, newPage(filepath.ToSlash(relative), string(text)))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func newPage(name, text string) *page {
	p := &page{name: name, lines: strings.Split(text, "\n")}
	var open *block
	var indent, end string
	for i, line := range p.lines {
		trimmed := strings.TrimSpace(line)
		switch {
		case open != nil && trimmed == end:
			p.blocks, open = append(p.blocks, *open), nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		case strings.HasPrefix(trimmed, "```"):
			indent, end = line[:strings.Index(line, "`")], "```"
			open = &block{language: strings.TrimPrefix(trimmed, "```"), line: i + 2}
		case trimmed == "<!-- go":
			indent, end = "", "-->"
			open = &block{language: "go", hidden: true, line: i + 2}
		}
	}
	if open != nil {
		p.blocks = append(p.blocks, *open)
	}
	return p
}

// prose returns the lines of the page outside of its blocks; those inside are empty.
func (p *page) prose() []string {
	lines := slices.Clone(p.lines)
	for _, b := range p.blocks {
		for i := range strings.Count(b.text, "\n") {
			lines[b.line-1+i] = ""
		}
	}
	return lines
}
