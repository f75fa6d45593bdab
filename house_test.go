package nsqx_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/nsqx/nsqx"

// floors are the packages of this module, from the bottom up. A package imports only packages of
// floors below its own, so there is no cycle and no import that goes up. docs/architecture.md has
// the picture.
var floors = [][]string{
	{"codec", "envelope", "retry", "internal/flow", "internal/lookup", "internal/pipe", "internal/version", "internal/wire"},
	{"handler", "admin"},
	{"middleware", "internal/guard"},
	{"conn"},
	{"observe", "internal/override"},
	{"internal/lifecycle", "internal/notify", "internal/pool", "internal/redrive"},
	{"internal/redial", "internal/discover", "internal/control", "internal/gate"},
	{"internal/publish"},
	{"internal/consume"},
	{"."},
	{"nsqxhttp", "nsqxtest", "otel", "settings", "internal/check", "internal/fake", "internal/test"},
}

// foreign are the imports of other modules, by package.
var foreign = map[string][]string{
	"conn":             {"github.com/klauspost/compress/flate", "github.com/klauspost/compress/s2"},
	"internal/consume": {"golang.org/x/sync/errgroup"},
	"internal/fake":    {"github.com/klauspost/compress/s2", "github.com/klauspost/compress/snappy"},
	"internal/publish": {"github.com/google/uuid"},
	"internal/redial":  {"github.com/cenkalti/backoff/v4"},
	"otel":             {"go.opentelemetry.io/otel"}, // and packages below, except the SDK
	"retry":            {"github.com/cenkalti/backoff/v4"},
}

func TestImportsGoDown(t *testing.T) {
	floor := make(map[string]int)
	for i, packages := range floors {
		for _, dir := range packages {
			floor[dir] = i
		}
	}
	sources := sources(t)
	for dir := range floor {
		if sources[dir] == nil {
			t.Errorf("floors names %s, which has no source file", dir)
		}
	}
	for dir, files := range sources {
		at, known := floor[dir]
		if !known {
			t.Errorf("package %s has no floor: give it one here and in docs/architecture.md", dir)
			continue
		}
		for _, imported := range imports(files) {
			name, ours := strings.CutPrefix(imported, module)
			switch name = strings.TrimPrefix(name, "/"); {
			case ours:
				if name == "" {
					name = "."
				}
				if below, known := floor[name]; !known || below >= at {
					t.Errorf("package %s imports %s, which is not below it", dir, name)
				}
			case !strings.Contains(strings.SplitN(imported, "/", 2)[0], "."): // standard library
			case strings.Contains(imported, "opentelemetry.io/otel/sdk"):
				t.Errorf("package %s imports %s", dir, imported)
			case !slices.ContainsFunc(foreign[dir], func(f string) bool {
				return imported == f || strings.HasPrefix(imported, "go.") && strings.HasPrefix(imported, f+"/")
			}):
				t.Errorf("package %s imports %s", dir, imported)
			}
		}
	}
}

// TestRooms: the root is a front door, files are short, and only internal/consume and the root know
// the whole consumer.
func TestRooms(t *testing.T) {
	all := sources(t)
	if n := len(all["."]); n > 16 {
		t.Errorf("the root has %d source files, want at most 16", n)
	}
	for dir, files := range all {
		for name, file := range files {
			if lines := file.lines; lines > 400 {
				t.Errorf("%s has %d lines, want at most 400", path.Join(dir, name), lines)
			}
			ast.Inspect(file.syntax, func(n ast.Node) bool {
				if s, ok := n.(*ast.StructType); ok && dir != "internal/consume" {
					for _, f := range s.Fields.List {
						if text := file.text(f.Type); strings.HasSuffix(text, "engine") || dir != "." && text == "*consume.Consumer" {
							t.Errorf("%s has a field of type %s", path.Join(dir, name), text)
						}
					}
				}
				return true
			})
		}
	}
}

// TestPoolIsNarrow holds what internal/pool shows to its neighbours.
func TestPoolIsNarrow(t *testing.T) {
	var methods []string
	for _, file := range sources(t)["internal/pool"] {
		for _, d := range file.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.IsExported() && file.text(f.Recv.List[0].Type) == "*Pool" {
				methods = append(methods, f.Name.Name)
			}
		}
	}
	if len(methods) == 0 || len(methods) > 13 {
		t.Errorf("pool.Pool has %d exported methods, want 1 to 13: %q", len(methods), methods)
	}
}

// source is one Go file.
type source struct {
	code   []byte
	lines  int
	syntax *ast.File
	files  *token.FileSet
}

// text is the code of a node.
func (s *source) text(n ast.Node) string {
	return string(s.code[s.files.Position(n.Pos()).Offset:s.files.Position(n.End()).Offset])
}

// sources returns the source files of this module, without tests, by package and name.
func sources(t *testing.T) map[string]map[string]*source {
	t.Helper()
	all := make(map[string]map[string]*source)
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != ".":
			_, err := os.Stat(filepath.Join(p, "go.mod"))
			if err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go"):
			return nil
		}
		code, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		s := &source{code: code, lines: bytes.Count(code, []byte("\n")), files: token.NewFileSet()}
		if s.syntax, err = parser.ParseFile(s.files, p, code, 0); err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(p))
		if all[dir] == nil {
			all[dir] = make(map[string]*source)
		}
		all[dir][d.Name()] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// imports returns what files import.
func imports(files map[string]*source) []string {
	all := make(map[string]bool)
	for _, f := range files {
		for _, spec := range f.syntax.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			all[p] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
