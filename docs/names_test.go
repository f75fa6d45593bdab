package docs_test

import (
	"go/token"
	"go/types"
	"regexp"
	"strings"
	"testing"
)

// TestNames: what pages name in backticks exists: pkg.Name and pkg.Name.Member of a public package, Type.Member
// of one of their types, and WithOption. The page on architecture may also name what is internal.
func TestNames(t *testing.T) {
	w := newWorld(t, token.NewFileSet())
	public, all := newIndex(), newIndex()
	for _, p := range w.ours {
		all.add(p)
		if !strings.Contains(p.Path(), "/internal/") {
			public.add(p)
		}
	}
	dotted := regexp.MustCompile(`[\pL_][\pL\d_]*(\.[\pL_][\pL\d_]*)*`)
	checked := 0
	for _, p := range pages(t, ".", "docs/...") {
		if p.name == "CHANGELOG.md" { // it names what was
			continue
		}
		names := public
		if p.name == "docs/architecture.md" {
			names = all
		}
		for i, line := range p.prose() {
			for _, span := range code.FindAllString(line, -1) {
				for _, name := range dotted.FindAllString(span, -1) {
					objects, members, ours := names.find(strings.Split(name, "."))
					if !ours {
						continue
					}
					if checked++; !has(objects, members) {
						t.Errorf("%s:%d: %s does not exist", p.name, i+1, name)
					}
				}
			}
		}
	}
	if checked < 200 {
		t.Errorf("only %d names", checked)
	}
	t.Log(checked, "names exist")
}

// index has packages, and what they export, by name.
type index struct {
	packages map[string][]types.Object
	exported map[string][]types.Object
}

func newIndex() *index {
	return &index{make(map[string][]types.Object), make(map[string][]types.Object)}
}

func (x *index) add(p *types.Package) {
	for _, name := range p.Scope().Names() {
		if o := p.Scope().Lookup(name); o.Exported() {
			x.exported[name] = append(x.exported[name], o)
			x.packages[p.Name()] = append(x.packages[p.Name()], o)
		}
	}
}

var option = regexp.MustCompile(`^With(out)?\p{Lu}`)

// find returns what the first parts of a name may mean, and its other parts. It returns false for a name of something
// else, such as a file, a topic or a host.
func (x *index) find(parts []string) (objects []types.Object, members []string, ours bool) {
	switch {
	case len(parts) == 1:
		return x.exported[parts[0]], nil, option.MatchString(parts[0])
	case !token.IsExported(parts[1]):
		return nil, nil, false
	case x.packages[parts[0]] != nil:
		for _, o := range x.packages[parts[0]] {
			if o.Name() == parts[1] {
				objects = append(objects, o)
			}
		}
		return objects, parts[2:], true
	default:
		return x.exported[parts[0]], parts[1:], x.exported[parts[0]] != nil
	}
}

// has reports whether one of objects has the members, of which the second is one of the first, and so on.
func has(objects []types.Object, members []string) bool {
	for _, o := range objects {
		for _, m := range members {
			if o != nil {
				o, _, _ = types.LookupFieldOrMethod(o.Type(), true, o.Pkg(), m)
			}
		}
		if o != nil {
			return true
		}
	}
	return false
}
