package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

// pagePackage makes the page. It is a separate program, so that its fonts do not count as memory of
// the clients' processes.
const pagePackage = "github.com/nsqx/nsqx/internal/bench/page"

type page struct {
	ctx     context.Context
	program string
	dir     string // to write to
}

// newPage builds the program before the measurement, so that a build error shows early.
func newPage(ctx context.Context, dir string) (p page, err error) {
	program, err := os.MkdirTemp("", "nsqx-bench-page-")
	if err != nil {
		return p, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(program, "page"), pagePackage)
	if said, err := build.CombinedOutput(); err != nil {
		return p, errors.Join(fmt.Errorf("bench: cannot build the page program: %w: %s", err, said), os.RemoveAll(program))
	}
	return page{ctx, program, dir}, nil
}

func (p page) write(report figures.Report) error {
	all, err := json.Marshal(report)
	if err != nil {
		return err
	}
	program := exec.CommandContext(p.ctx, filepath.Join(p.program, "page"), p.dir)
	program.Stdin = bytes.NewReader(all)
	if said, err := program.CombinedOutput(); err != nil {
		return fmt.Errorf("bench: page: %w: %s", err, said)
	}
	return nil
}
