package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// drainTimeout bounds one drain. The slowest client needs some ten seconds for the default job.
const drainTimeout = 5 * time.Minute

// drainAll lets each client drain once, one after the other.
func drainAll(ctx context.Context, j job) (map[string]result, error) {
	results := make(map[string]result)
	for _, c := range clients() {
		j.Client = c.name
		r, err := drain(ctx, j)
		if err != nil {
			return nil, err
		}
		results[c.name] = r
	}
	return results, nil
}

// drain runs a sender and j's client, each in a process of its own, and returns what both measured.
// It is an error if a message was not answered by exactly one FIN.
func drain(ctx context.Context, j job) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()

	senderJob := j
	senderJob.Client = ""
	sender, err := start(ctx, senderJob)
	if err != nil {
		return result{}, err
	}
	var res result
	err = sender.read(&j.Addr)
	if err == nil {
		err = drainFrom(ctx, j, &res.Client)
	}
	if err != nil {
		cancel() // or the sender waits for a client that is not coming
		return result{}, errors.Join(err, sender.wait())
	}
	if err := errors.Join(sender.read(&res.Sender), sender.wait()); err != nil {
		return result{}, err
	}
	if err := res.Sender.check(j); err != nil {
		return result{}, fmt.Errorf("bench: %s: %w", j.Client, err)
	}
	return res, nil
}

func drainFrom(ctx context.Context, j job, used *usage) error {
	client, err := start(ctx, j)
	if err != nil {
		return err
	}
	return errors.Join(client.read(used), client.wait())
}

// process is this program, started again for one job. It answers in JSON on its standard output.
type process struct {
	name   string
	cmd    *exec.Cmd
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
	p := &process{name: "sender", cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), jobVariable+"="+string(what))
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	if j.Client != "" {
		p.name = j.Client
	} else {
		// The sender is one goroutine: it would only keep a second thread looking for work.
		p.cmd.Env = append(p.cmd.Env, "GOMAXPROCS=1")
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

func (p *process) wait() error {
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("bench: %s: %w: %s", p.name, err, strings.TrimSpace(p.stderr.String()))
	}
	return nil
}
