package docs_test

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// scope is what the blocks of a page have declared.
type scope struct {
	imports map[string]string // paths, by name; those that need no import included
	decls   []decl
}

// decl is a declaration: its names, and its code. The name of a method begins with that of its type.
type decl struct {
	names []string
	code  string
}

// decls returns the declarations of the block, one a specification.
func (p *piece) decls() []decl {
	source := func(n ast.Node) string {
		var b strings.Builder
		_ = format.Node(&b, p.fset, n)
		return b.String()
	}
	var all []decl
	for _, d := range p.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				receiver, _, _ := strings.Cut(strings.TrimLeft(source(d.Recv.List[0].Type), "*"), "[")
				name = receiver + "." + name
			}
			if name != "_" {
				all = append(all, decl{[]string{name}, source(d)})
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					all = append(all, decl{[]string{spec.Name.Name}, "type " + source(spec)})
				case *ast.ValueSpec:
					var names []string
					for _, n := range spec.Names {
						names = append(names, n.Name)
					}
					all = append(all, decl{names, d.Tok.String() + " " + source(spec)})
				}
			}
		}
	}
	return all
}

// above is the file of what is above a block.
const above = "above"

// source returns a file for the package of p, with what p does not declare itself.
func (s *scope) source(p *piece, imports map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n", p.file.Name.Name)
	for _, name := range slices.Sorted(maps.Keys(imports)) {
		fmt.Fprintf(&b, "import %s %q\n", name, imports[name])
	}
	for _, d := range s.without(p.decls()) {
		b.WriteString(d.code + "\n")
	}
	return b.String()
}

// without returns the declarations that others do not replace.
func (s *scope) without(others []decl) []decl {
	replaced := make(map[string]bool)
	for _, d := range others {
		for _, name := range d.names {
			replaced[name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(s.decls), func(d decl) bool {
		return slices.ContainsFunc(d.names, func(name string) bool {
			receiver, _, _ := strings.Cut(name, ".")
			return replaced[name] || replaced[receiver]
		})
	})
}

// add adds what p declares.
func (s *scope) add(p *piece, info *types.Info) {
	decls := p.decls()
	switch p.form {
	case "declarations":
		maps.Copy(s.imports, p.imports())
	case "statements":
		decls = s.variables(p, info)
	}
	s.decls = append(s.without(decls), decls...)
}

// variables returns the variables that the statements of p declare, except those in nested blocks, and those that
// would hide a package from what follows.
func (s *scope) variables(p *piece, info *types.Info) []decl {
	var all []decl
	body := p.file.Decls[len(p.file.Decls)-1].(*ast.FuncDecl).Body
	for _, statement := range body.List {
		ast.Inspect(statement, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt, *ast.DeclStmt, *ast.GenDecl, *ast.ValueSpec:
				return true
			case *ast.Ident:
				v, ok := info.Defs[n].(*types.Var)
				if !ok || v.Type() == types.Typ[types.Invalid] || v.Name() == "_" || s.imports[v.Name()] != "" {
					return false
				}
				kind := types.TypeString(v.Type(), func(other *types.Package) string {
					if other.Path() == "page" {
						return ""
					}
					s.imports[other.Name()] = other.Path()
					return other.Name()
				})
				all = append(all, decl{[]string{v.Name()}, "var " + v.Name() + " " + kind})
			}
			return false
		})
	}
	return all
}
