package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

var (
	code   = regexp.MustCompile("`[^`]*`")
	link   = regexp.MustCompile(`\]\(([^()\s]+)(?: "[^"]*")?\)|(?:href|src|srcset)="([^"\s]+)"`)
	scheme = regexp.MustCompile(`^[a-z]+:`)
)

// TestLinks: each link to a file of the repository leads to one, and its anchor to a heading. An index of a
// directory (README.md) names all of its pages.
func TestLinks(t *testing.T) {
	all := make(map[string]*page)
	for _, p := range pages(t, "./...") {
		all[p.name] = p
	}
	targets := make(map[string]map[string]bool) // what a page links to
	for name, p := range all {
		targets[name] = make(map[string]bool)
		for i, line := range p.prose() {
			for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
				target := m[1] + m[2]
				if scheme.MatchString(target) {
					continue
				}
				file, anchor, _ := strings.Cut(target, "#")
				if file = path.Join(path.Dir(name), file); strings.HasPrefix(target, "#") {
					file = name
				}
				targets[name][file] = true
				if _, err := os.Stat(filepath.Join("..", file)); err != nil {
					t.Errorf("%s:%d: %s: there is no such file", name, i+1, target)
				} else if anchor != "" && (all[file] == nil || !all[file].anchors()[anchor]) {
					t.Errorf("%s:%d: %s: there is no such heading", name, i+1, target)
				}
			}
		}
	}
	for name := range all {
		index := path.Join(path.Dir(name), "README.md")
		if strings.HasPrefix(name, "docs/") && name != index && all[index] != nil && !targets[index][name] {
			t.Errorf("%s has no link to %s", index, path.Base(name))
		}
	}
}

// anchors returns the anchors of the page's headings, as GitHub makes them.
func (p *page) anchors() map[string]bool {
	all := make(map[string]bool)
	for _, line := range p.prose() {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		title = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(title, "$1")
		anchor := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(title))
		unique := anchor
		for n := 1; all[unique]; n++ {
			unique = anchor + "-" + strconv.Itoa(n)
		}
		all[unique] = true
	}
	return all
}
