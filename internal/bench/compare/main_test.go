// Tests of main.go and run.go.

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes a module with a benchmark, and a commit for each of two versions. Like this one,
// it has a nested module with benchstat as a tool.
func repository(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"go.mod":             "module example.org/m\n\ngo 1.26.0\n",
		"m_test.go":          "package m\n\nimport \"testing\"\n\nfunc BenchmarkOld(b *testing.B) { for b.Loop() {} }\n",
		"broken/x.go":        "package",
		"internal/bench/.no": "",
	} {
		put(t, dir, name, text)
	}
	for _, name := range []string{"go.mod", "go.sum"} { // the pinned benchstat
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, "internal/bench/"+name, strings.ReplaceAll(string(text), "=> ../..", "=> "+root(t)))
	}
	git(t, dir, "init", "--quiet")
	commit(t, dir)
	put(t, dir, "m_test.go", "package m\n\nimport \"testing\"\n\nfunc BenchmarkOld(b *testing.B) { for b.Loop() {} }\n\nfunc BenchmarkNew(b *testing.B) { for b.Loop() {} }\n")
	commit(t, dir)
	return dir
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, dir string) {
	t.Helper()
	git(t, dir, "add", "--all")
	git(t, dir, "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "commit", "--quiet", "-m", "m")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestRun: both versions run, a package that does not build is reported, and the repository stays
// unchanged.
func TestRun(t *testing.T) {
	t.Setenv("GOWORK", "off")
	dir := repository(t)
	before := git(t, dir, "status", "--porcelain")
	var out bytes.Buffer
	c := comparison{root: dir, with: "HEAD", count: 1, time: "1x", pattern: ".", packages: []string{".", "./broken"}, out: &out}
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"base is " + git(t, dir, "rev-parse", "HEAD~1"), "base: ./broken: ", "head: ./broken: ", "Old", "New", "sec/op", "allocs/op"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if after := git(t, dir, "status", "--porcelain"); after != before {
		t.Errorf("the repository is changed: %s", after)
	}
}

func TestBase(t *testing.T) {
	dir := repository(t)
	old := git(t, dir, "rev-parse", "HEAD~1")
	for _, with := range []string{"HEAD", "HEAD~1"} { // for HEAD itself, the commit before it
		c := comparison{root: dir, with: with}
		if base, err := c.base(t.Context()); err != nil || base != old {
			t.Errorf("with %s: %s, %v; want %s", with, base, err, old)
		}
	}
	c := comparison{root: dir, with: "nobody/knows"}
	if _, err := c.base(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody/knows") {
		t.Errorf("a commit that is not there: %v", err)
	}
}
