// Tests of docs/reliability.md.

package e2e

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReliabilityNamesTests: each test that docs/reliability.md names exists.
func TestReliabilityNamesTests(t *testing.T) {
	t.Parallel()
	root := os.DirFS("../..")
	doc, err := fs.ReadFile(root, "docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	err = fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		sources.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllSubmatch(doc, -1)
	if len(names) < 100 {
		t.Errorf("only %d tests are named", len(names))
	}
	for _, name := range names {
		if !strings.Contains(sources.String(), "\nfunc "+string(name[1])+"(") {
			t.Errorf("there is no %s", name[1])
		}
	}
}

// TestReliabilityRows: docs/reliability.md has all rows. The tests it names for a row have the row
// in their name or in that of a subtest, and it names every test with a row in its name.
func TestReliabilityRows(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, series := range []struct {
		letter string
		last   int
	}{{"F", 33}, {"T", 5}, {"A", 6}, {"C", 4}, {"R", 3}, {"X", 1}, {"S", 14}} {
		for n := range series.last {
			want = append(want, fmt.Sprint(series.letter, n+1))
		}
	}
	carried := carriedRows(t, ".", "../test", "../..", "../../conn")
	named := regexp.MustCompile("`(Test\\w+)`")
	for _, line := range regexp.MustCompile(`(?m)^\| ([FTACRXS]\d+) \| .+ \| (.+) \|$`).FindAllSubmatch(doc, -1) {
		row := string(line[1])
		got = append(got, row)
		tests := named.FindAllSubmatch(line[2], -1)
		if len(tests) == 0 {
			t.Errorf("%s has no test", row)
		}
		for _, name := range tests {
			if !carried[string(name[1])][row] {
				t.Errorf("%s does not carry %s in its name, nor in that of a subtest", name[1], row)
			}
			delete(carried[string(name[1])], row)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the rows are %v, want %v", got, want)
	}
	for name, rows := range carried {
		for _, row := range rowsOf(name) {
			if rows[row] {
				t.Errorf("%s is not named for %s", name, row)
			}
		}
	}
}

// rowsOf returns the rows at the end of a test's name: S5 and F18 of TestShutdownIgnoredS5F18.
func rowsOf(name string) []string {
	end := regexp.MustCompile(`([FTACRXS]\d+)+$`).FindString(name)
	return regexp.MustCompile(`[FTACRXS]\d+`).FindAllString(end, -1)
}

// carriedRows returns the rows of each test by its name. A string that starts with a row, such as
// "A2: wrong secret", names a subtest and counts for all tests of its file.
func carriedRows(t *testing.T, dirs ...string) map[string]map[string]bool {
	subtest := regexp.MustCompile(`^([FTACRXS]\d+)[:,] `)
	carried := make(map[string]map[string]bool)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", dir, err)
		}
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			var tests, rows []string
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Recv == nil && strings.HasPrefix(n.Name.Name, "Test") {
						tests = append(tests, n.Name.Name)
					}
				case *ast.BasicLit:
					if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && subtest.MatchString(text) {
						rows = append(rows, subtest.FindStringSubmatch(text)[1])
					}
				}
				return true
			})
			for _, name := range tests {
				if carried[name] == nil {
					carried[name] = make(map[string]bool)
				}
				for _, r := range append(rowsOf(name), rows...) {
					carried[name][r] = true
				}
			}
		}
	}
	return carried
}
