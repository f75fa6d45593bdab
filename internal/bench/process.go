package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// process is a child process of this program that runs one job. It answers in JSON on its standard
// output.
type process struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser // requests to a server; closing it ends the server
	out    *json.Decoder
	stderr bytes.Buffer
}

func start(ctx context.Context, j job) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	what, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	p := &process{name: j.Role, cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), jobVariable+"="+string(what))
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	if threads := roles()[j.Role].threads; threads > 0 {
		p.cmd.Env = append(p.cmd.Env, "GOMAXPROCS="+strconv.Itoa(threads))
	}
	if j.Role == "client" || j.Role == "producer" || j.Role == "idle" {
		p.name = j.Client
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(stdout)
	return p, p.cmd.Start()
}

func (p *process) read(v any) error {
	if err := p.out.Decode(v); err != nil {
		return fmt.Errorf("bench: no answer from %s: %w", p.name, err)
	}
	return nil
}

// report reads the process's report and waits for its end.
func (p *process) report(v any) error {
	return errors.Join(p.read(v), p.wait())
}

// ask sends a request to a server and reads the answer.
func (p *process) ask(request, answer any) error {
	if err := json.NewEncoder(p.in).Encode(request); err != nil {
		return fmt.Errorf("bench: cannot ask %s: %w", p.name, err)
	}
	return p.read(answer)
}

func (p *process) wait() error {
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("bench: %s: %w: %s", p.name, err, strings.TrimSpace(p.stderr.String()))
	}
	return nil
}

// close ends a server.
func (p *process) close() error {
	p.in.Close()
	return p.wait()
}
