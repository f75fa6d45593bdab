package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// apps are the programs of nsq that use go-nsq.
var apps = []string{"nsq_to_file", "nsq_to_http", "nsq_to_nsq", "nsq_tail", "to_nsq"}

// Each builds programs once, and returns their directory.
var (
	program      = built(func() (string, error) { return filepath.Join("..", "..", "cmd", "nsqx"), nil }, nil, ".")
	examples     = built(func() (string, error) { return filepath.Join("..", "..", "examples"), nil }, nil, "./tofile", "./tohttp")
	originalApps = built(copyNSQ, outside, appPackages()...)
)

// outside is the environment of go outside of the workspace.
var outside = []string{"GOWORK=off", "GOFLAGS=-mod=mod"}

// programDir has what tests have built, "" before.
var (
	programDir     string
	makeProgramDir = sync.OnceValue(func() (err error) {
		programDir, err = os.MkdirTemp("", "nsqx-programs")
		return err
	})
)

func removePrograms() {
	if programDir != "" {
		_ = os.RemoveAll(programDir)
	}
}

// newProgramDir makes a directory that stays until the last test has ended.
func newProgramDir() (string, error) {
	if err := makeProgramDir(); err != nil {
		return "", err
	}
	return os.MkdirTemp(programDir, "")
}

// built returns a function that builds packages of the module in the directory that source returns.
func built(source func() (string, error), env []string, packages ...string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := source()
		if err != nil {
			return "", err
		}
		out, err := newProgramDir()
		if err != nil {
			return "", err
		}
		_, err = goCommand(dir, env, append([]string{"build", "-o", out + "/"}, packages...)...)
		return out, err
	})
}

// goCommand runs a command of go, and returns its output.
func goCommand(dir string, env []string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, errs.String())
	}
	return string(out), nil
}

func appPackages() (packages []string) {
	for _, app := range apps {
		packages = append(packages, "./apps/"+app)
	}
	return packages
}

// copyNSQ copies the module of nsq, whose programs need its internal packages.
func copyNSQ() (string, error) {
	source, err := goCommand(".", outside, "list", "-m", "-f", "{{.Dir}}", "github.com/nsqio/nsq")
	if err != nil {
		return "", err
	}
	dir, err := newProgramDir()
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(source))); err != nil {
		return "", err
	}
	return dir, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode) // files of the module cache are read-only
	})
}

// executable returns the path of a program that build has built.
func executable(t *testing.T, build func() (string, error), name string) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return filepath.Join(dir, name)
}

// app is a program that runs. It is killed at the end of the test.
type app struct {
	t   *testing.T
	cmd *exec.Cmd
	out bytes.Buffer // read it after the end
	log bytes.Buffer
}

func startApp(t *testing.T, path, input string, args ...string) *app {
	t.Helper()
	a := &app{t: t, cmd: exec.Command(path, args...)}
	a.cmd.Stdin, a.cmd.Stdout, a.cmd.Stderr = strings.NewReader(input), &a.out, &a.log
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if a.cmd.ProcessState == nil {
			a.kill()
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", filepath.Base(path), tail(a.log.String(), 4000))
		}
	})
	return a
}

// tail returns the end of a text.
func tail(text string, n int) string { return text[max(len(text)-n, 0):] }

// stop sends what Ctrl-C sends, and waits.
func (a *app) stop() {
	a.t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGINT); err != nil {
		a.t.Error(err)
	}
	a.wait()
}

func (a *app) wait() {
	a.t.Helper()
	kill := time.AfterFunc(40*time.Second, func() { _ = a.cmd.Process.Kill() })
	defer kill.Stop()
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("%s: %v", filepath.Base(a.cmd.Path), err)
	}
}

// kill sends SIGKILL, and waits.
func (a *app) kill() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait() // returns the signal as an error
}
