package nsqx_test

import (
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImportsGoDown holds the order of the house: what each package may import
// of this module and of others. The standard library is free for all.
func TestImportsGoDown(t *testing.T) {
	const module = "github.com/nsqx/nsqx"
	const (
		backoff  = "github.com/cenkalti/backoff/v4"
		compress = "github.com/klauspost/compress/"
		errgroup = "golang.org/x/sync/errgroup"

		telemetry = "go.opentelemetry.io/otel" // and what is below, but for the SDK
	)
	allowed := map[string][]string{
		"internal/wire":     nil,
		"codec":             nil,
		"envelope":          nil,
		"handler":           {"envelope"},
		"internal/flow":     nil,
		"internal/lookup":   nil,
		"internal/override": {"conn"},
		"internal/pipe":     nil,
		"internal/version":  nil,
		"retry":             {backoff},
		"middleware":        {"handler"},
		"conn":              {"handler", "internal/flow", "internal/version", "internal/wire", compress + "flate", compress + "s2"},
		".":                 {"codec", "conn", "envelope", "handler", "internal/flow", "internal/lookup", "internal/override", "internal/version", "internal/wire", "middleware", "retry", backoff, errgroup},
		"nsqxtest":          {module, "conn", "envelope", "handler", "internal/override", "internal/pipe"},
		"internal/fake":     {"internal/pipe", compress + "s2", compress + "snappy"},
		"otel":              {module, "conn", "envelope", "handler", "retry", telemetry},
	}
	for dir := range packages(t) {
		may, known := allowed[dir]
		if !known {
			t.Errorf("package %s has no place in the house: give it one here and in docs/architecture.md", dir)
			continue
		}
		for _, imported := range imports(t, dir) {
			name, ours := strings.CutPrefix(imported, module+"/")
			if !ours && !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
				continue // standard library
			}
			if strings.HasPrefix(imported, telemetry+"/") && !strings.HasPrefix(imported, telemetry+"/sdk") {
				name = telemetry
			}
			if !slices.Contains(may, name) {
				t.Errorf("package %s imports %s", dir, imported)
			}
		}
	}
}

// packages returns the directories of this module that hold Go files.
func packages(t *testing.T) map[string]bool {
	t.Helper()
	dirs := make(map[string]bool)
	err := filepath.WalkDir(".", func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." {
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
		}
		if strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go") {
			dirs[path.Dir(filepath.ToSlash(p))] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// imports returns what the files of a package import, tests aside.
func imports(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
	}
	return all
}
