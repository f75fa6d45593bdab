package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func (c comparison) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "nsqx-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	top, err := output(ctx, c.root, nil, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	base, err := c.base(ctx)
	if err != nil {
		return err
	}
	old := filepath.Join(dir, "base")
	if err := export(ctx, c.root, base, old); err != nil {
		return err
	}
	results := []result{{name: "base", from: old}, {name: "head", from: top}}
	for range c.count {
		for i := range results {
			c.benchmark(ctx, &results[i])
		}
	}
	args := []string{"tool", "benchstat"}
	for _, r := range results {
		file := filepath.Join(dir, r.name+".txt")
		if err := os.WriteFile(file, r.out.Bytes(), 0o644); err != nil {
			return err
		}
		args = append(args, r.name+"="+file)
	}
	report, err := output(ctx, filepath.Join(top, "internal", "bench"), nil, "go", args...)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "base is %s\n\n%s\n", base, report)
	return err
}

// base returns the commit to compare with.
func (c comparison) base(ctx context.Context) (string, error) {
	head, err := output(ctx, c.root, nil, "git", "rev-parse", "HEAD")
	if err != nil {
		return "", err
	}
	base, err := output(ctx, c.root, nil, "git", "merge-base", "HEAD", c.with)
	if err != nil {
		return "", err
	}
	if base != head {
		return base, nil
	}
	return output(ctx, c.root, nil, "git", "rev-parse", "HEAD~1")
}

// export writes a commit's files to a directory. It uses its own index, so the repository stays
// unchanged.
func export(ctx context.Context, root, commit, dir string) error {
	index := []string{"GIT_INDEX_FILE=" + dir + ".index"}
	if _, err := output(ctx, root, index, "git", "read-tree", commit); err != nil {
		return err
	}
	_, err := output(ctx, root, index, "git", "checkout-index", "--all", "--prefix="+dir+string(filepath.Separator))
	return err
}

// result is the benchmark output of one version.
type result struct {
	name, from string
	out        bytes.Buffer
}

// benchmark runs each package separately: one that does not build, or does not exist, lacks only
// its own figures.
func (c comparison) benchmark(ctx context.Context, r *result) {
	for _, p := range c.packages {
		said, err := output(ctx, r.from, []string{"GOWORK=off"}, "go", "test", "-run", "^$", "-bench", c.pattern, "-benchmem",
			"-benchtime", c.time, p)
		if err != nil {
			fmt.Fprintf(c.out, "%s: %s: %v\n", r.name, p, err)
			continue
		}
		fmt.Fprintln(&r.out, said)
	}
}

// output returns a command's output without the last newline.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, strings.TrimSpace(faults.String()))
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
