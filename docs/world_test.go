package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nsqx/nsqx"

// ours returns the patterns of what pages may name: the packages of this module and of those in contrib.
func ours() []string {
	patterns := []string{"./..."}
	modules, _ := filepath.Glob("../contrib/*/go.mod")
	for _, name := range modules {
		patterns = append(patterns, "./contrib/"+filepath.Base(filepath.Dir(name))+"/...")
	}
	return patterns
}

// listed is a package as go list describes it.
type listed struct {
	ImportPath, Name, Export, Dir string
	GoFiles                       []string
}

// list runs go list at the root of the repository, in the workspace.
func list(t *testing.T, args ...string) []listed {
	t.Helper()
	if _, err := os.Stat("../go.work"); err != nil {
		t.Skip("not in a workspace:", err)
	}
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Export,Dir,GoFiles"}, args...)...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "GOWORK=") // also if the tests run without it
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("go list: %s", exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// world imports packages by their export data.
type world struct {
	types.Importer
	fset *token.FileSet
	ours []*types.Package
}

// newWorld returns a world with our packages, others and all that they import.
func newWorld(t *testing.T, fset *token.FileSet, others ...string) *world {
	t.Helper()
	exports := make(map[string]string)
	var names []string
	for _, p := range list(t, slices.Concat([]string{"-deps", "-export"}, ours(), others)...) {
		exports[p.ImportPath] = p.Export
		if !strings.HasPrefix(p.ImportPath, module) {
			continue
		}
		for _, name := range p.GoFiles {
			_, _ = os.Stat(filepath.Join(p.Dir, name)) // go test runs this test again when the file changes
		}
		if p.Name != "main" && len(p.GoFiles) > 0 {
			names = append(names, p.ImportPath)
		}
	}
	w := &world{fset: fset, Importer: importer.ForCompiler(fset, "gc", func(name string) (io.ReadCloser, error) {
		if exports[name] == "" {
			return nil, fmt.Errorf("no package %s", name)
		}
		return os.Open(exports[name])
	})}
	for _, name := range names {
		p, err := w.Import(name)
		if err != nil {
			t.Fatal(err)
		}
		w.ours = append(w.ours, p)
	}
	return w
}

// check type-checks files as one package. Faults that a fragment may have, such as a variable that it does not
// use, count only if strict, and those of what is above it not at all.
func (w *world) check(info *types.Info, strict bool, files ...*ast.File) error {
	var faults []error
	config := types.Config{Importer: w, Error: func(err error) {
		fault := err.(types.Error)
		if w.fset.Position(fault.Pos).Filename != above && (strict || !fault.Soft) {
			faults = append(faults, err)
		}
	}}
	_, _ = config.Check("page", w.fset, files, info)
	return errors.Join(faults...)
}
