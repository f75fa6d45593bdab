package docs_test

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
)

// TestCode: each block of Go in the README and below docs compiles, and is formatted. A block is one of
//
//   - a file, with its package clause. One with a func main stands alone, another one sees its page;
//   - declarations, with or without imports;
//   - statements, in a function that has a ctx, an err, and an error as its result;
//   - arguments with a comma behind each, such as options.
//
// All but a program see what the blocks above them on the page declare: imports, types, functions, and also the
// variables of statements. What a page does not show stands in a comment, which is a block that readers do not see:
//
//	<!-- go
//	type Order struct{ ID string }
//	var store interface{ Insert(context.Context, Order) error }
//	-->
//
// A name that is declared again replaces the one above. Packages of this repository and of the standard library need
// no import, except in files, and unless two have the name. A line "…" and "{ … }" stand for code that is left out. A
// fragment need not use what it declares. To add a page, write it.
func TestCode(t *testing.T) {
	shown, faults := compile(t, pages(t, ".", "docs/..."))
	for _, err := range faults {
		t.Error(err)
	}
	if shown < 10 {
		t.Errorf("only %d blocks of Go", shown)
	}
	t.Log(shown, "blocks compile")
}

// TestCodeFaults: what TestCode checks fails, and names its line.
func TestCodeFaults(t *testing.T) {
	const text = "<!-- go\ntype Order struct{ ID string }\n-->\n" +
		"```go\nc, err := nsqx.NewConsumer(\"orders\", \"billing\", codec.JSON[Order](), nil)\nc.Stop()\n```\n" + // no ctx
		"```go\nc.Stop(ctx)\nc.Halt(ctx)\n```\n" + // no such method
		"```go\nnsqx.WithRetry(nil),\nnsqx.WithRetries(nil),\n```\n" + // no such option
		"```go\nfunc bill(o Order) error { return o.Bill() }\n```\n" + // no such method
		"```go\nerr = bill(Order{})\nif {\n```\n" + // no Go
		"```go\npackage main\n\nfunc main() { var o Order }\n```\n" + // a program stands alone
		"```go\nx:=1\n```\n" // not formatted
	shown, faults := compile(t, []*page{newPage("a.md", text)})
	check.Want(t, "blocks", shown, 6)
	if len(faults) != 7 {
		t.Fatalf("got %d faults, want 7: %v", len(faults), faults)
	}
	all := fmt.Sprint(faults)
	for _, want := range []string{"a.md:6:", "a.md:10:", "a.md:14:", "a.md:17:", "a.md:21:", "a.md:26:", "a.md:29 "} {
		if !strings.Contains(all, want) {
			t.Errorf("no fault at %s of %s", want, all)
		}
	}
}

// compile compiles the blocks of pages. shown is the number of those that are not hidden, and are Go.
func compile(t *testing.T, all []*page) (shown int, faults []error) {
	t.Helper()
	fset := token.NewFileSet()
	paths := importPaths(t)
	var pieces []*piece
	imported := make(map[string]bool)
	for _, p := range all {
		above := new(scope)
		for _, b := range p.blocks {
			if b.language != "go" {
				continue
			}
			at := fmt.Sprintf("%s:%d", p.name, b.line)
			piece, err := parse(fset, at, b.text)
			if err != nil {
				faults = append(faults, err)
				continue
			}
			if formatted, err := format.Source([]byte(b.text)); !b.hidden && err == nil && string(formatted) != b.text {
				faults = append(faults, fmt.Errorf("%s is not formatted; gofmt says\n%s", at, formatted))
			}
			if !b.hidden {
				shown++
			}
			piece.above = above
			pieces = append(pieces, piece)
			for _, from := range piece.needs(paths) {
				imported[from] = true
			}
		}
	}
	w := newWorld(t, fset, slices.Sorted(maps.Keys(imported))...)
	maps.DeleteFunc(paths, func(_, p string) bool { return !imported[p] })
	for _, p := range pieces {
		if p.above.imports == nil {
			p.above.imports = maps.Clone(paths)
		}
		if err := p.check(w); err != nil {
			faults = append(faults, fmt.Errorf("%s does not compile:\n%w", p.at, err))
		}
	}
	return shown, faults
}

// importPaths returns the paths of packages that need no import, by name.
func importPaths(t *testing.T) map[string]string {
	paths := make(map[string]string)
	for _, p := range list(t, append(ours(), "std")...) {
		switch {
		case p.Name == "main" || strings.Contains("/"+p.ImportPath+"/", "/internal/") || strings.HasPrefix(p.ImportPath, "vendor/"):
		case paths[p.Name] != "" && !strings.HasPrefix(p.ImportPath, module):
			paths[p.Name] = "ambiguous"
		default:
			paths[p.Name] = p.ImportPath
		}
	}
	maps.DeleteFunc(paths, func(_, p string) bool { return p == "ambiguous" })
	return paths
}

// piece is a block of Go.
type piece struct {
	at    string // page and line
	form  string
	file  *ast.File
	fset  *token.FileSet
	above *scope // what its page has declared
}

// forms wrap a block into a file.
var forms = []struct{ name, before, after string }{
	{"file", "", ""},
	{"declarations", "package page\n", ""},
	{"statements", "package page\nfunc _(ctx context.Context) (err error) {\n", "\nreturn\n}"},
	{"arguments", "package page\nfunc _(ctx context.Context) {\n_ = []any{\n", "}\n}"},
}

// parse finds the form of a block.
func parse(fset *token.FileSet, at, code string) (*piece, error) {
	var text strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(code, "{ … }", `{ panic("…") }`)) {
		if strings.TrimSpace(line) == "…" {
			line = "\n"
		}
		text.WriteString(line)
	}
	var fault error
	for _, form := range forms {
		file, err := parser.ParseFile(fset, "", form.before+"//line "+at+"\n"+text.String()+form.after, parser.SkipObjectResolution)
		if err == nil {
			return &piece{at: at, form: form.name, file: file, fset: fset}, nil
		}
		if form.name == "statements" {
			fault = err
		}
	}
	return nil, fmt.Errorf("%s is no Go:\n%w", at, fault)
}

// imports returns the paths that the block imports, by their names in it.
func (p *piece) imports() map[string]string {
	all := make(map[string]string)
	for _, spec := range p.file.Imports {
		from, _ := strconv.Unquote(spec.Path.Value)
		if spec.Name != nil {
			all[spec.Name.Name] = from
		} else {
			all[path.Base(from)] = from
		}
	}
	return all
}

// needs returns the paths that the block imports, or may mean by a name of paths.
func (p *piece) needs(paths map[string]string) []string {
	all := slices.Collect(maps.Values(p.imports()))
	ast.Inspect(p.file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && paths[x.Name] != "" {
				all = append(all, paths[x.Name])
			}
		}
		return true
	})
	return all
}

// check compiles the block, in a package with what is above on its page, and adds what it declares.
func (p *piece) check(w *world) error {
	info := &types.Info{Defs: make(map[*ast.Ident]types.Object)}
	if p.form == "file" && slices.ContainsFunc(p.decls(), func(d decl) bool { return slices.Contains(d.names, "main") }) {
		err := w.check(info, true, p.file)
		p.above.add(p, nil)
		return err
	}
	// An import of a name that the package declares would be a fault.
	imports := maps.Clone(p.above.imports)
	for _, d := range slices.Concat(p.above.decls, p.decls()) {
		for _, name := range d.names {
			delete(imports, name)
		}
	}
	for name := range p.imports() {
		delete(imports, name)
	}
	if p.form != "file" {
		for name, from := range imports {
			spec := &ast.ImportSpec{Name: ast.NewIdent(name), Path: &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(from)}}
			p.file.Decls = append([]ast.Decl{&ast.GenDecl{Tok: token.IMPORT, Specs: []ast.Spec{spec}}}, p.file.Decls...)
		}
	}
	maps.Copy(imports, p.imports())
	rest, err := parser.ParseFile(w.fset, above, p.above.source(p, imports), parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	err = w.check(info, p.form == "file", p.file, rest)
	p.above.add(p, info)
	return err
}
