package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestDocs: each command line in the guide is one, and it names the findings of doctor, all of them.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	word := regexp.MustCompile(`'[^']*'|\S+`)
	found, tables := 0, ""
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		block := false
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "| `") {
				tables += line
			}
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				block = !block
			}
			line, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "nsqx ")
			if !ok || !block { // prose may begin like a command
				continue
			}
			found++
			line, _, _ = strings.Cut(line, " > ")
			var args []string
			for _, w := range word.FindAllString(line, -1) {
				args = append(args, strings.Trim(w, "'"))
			}
			var c commands
			parser, err := kong.New(&c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(args); err != nil {
				t.Errorf("%s: nsqx %s: %v", page, line, err)
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d command lines", found)
	}

	sources, _ := filepath.Glob("check_*.go")
	var checks []string
	for _, name := range sources {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:one\(|finding\{|check(?:, what, cure)?(?:, cure)? :?= )"([a-z-]+)"`).FindAllStringSubmatch(string(code), -1) {
			checks = append(checks, m[1])
		}
	}
	if len(checks) < 20 {
		t.Errorf("only the checks %q", checks)
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(checks))) {
		if !strings.Contains(tables, "`"+name+"`") {
			t.Errorf("the guide does not name %s", name)
		}
	}
}
