// Command nsqx looks into a cluster of NSQ and steers it: dead letters, messages, topics, channels,
// statistics, and what is wrong with it.
//
//	nsqx stats --watch
//	nsqx dead ls orders.dead --where '.headers["nsqx-dlq-error"] | test("timeout")'
//	nsqx doctor
//
// Servers are named by flags or by the environment, with the names of package settings:
// NSQX_LOOKUPD, NSQX_NSQD. nsqx --help lists commands and flags.
//
// The exit status is 0 if all was done, 1 if nothing was, 2 if the command line is faulty, and 3 if a
// part was done. nsqx doctor exits with 3 for warnings and 4 for errors.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitPart   = 3
	exitErrors = 4 // of doctor
)

// commands are the command line.
type commands struct {
	Servers servers `embed:""`

	Stats   statsCommand   `cmd:"" help:"Show topics and channels over all nsqds."`
	Dead    deadCommands   `cmd:"" help:"Look at dead letters, redrive or purge them."`
	Tail    tailCommand    `cmd:"" help:"Show messages as they are published."`
	Pub     pubCommand     `cmd:"" help:"Publish messages."`
	Topic   topicCommand   `cmd:"" help:"Create, pause, unpause, empty or delete a topic."`
	Channel channelCommand `cmd:"" help:"Create, pause, unpause, empty or delete a channel."`
	Doctor  doctorCommand  `cmd:"" help:"Say what is wrong with the cluster, and what to do."`

	Completion completionCommand `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	Complete   completeCommand   `cmd:"" name:"__complete" hidden:""`
}

const description = `Look into a cluster of NSQ and steer it.

Name servers by --lookupd or --nsqd, or by NSQX_LOOKUPD or NSQX_NSQD. For example:

  nsqx stats --lookupd 127.0.0.1:4161
  nsqx dead ls orders.dead --where '.headers["nsqx-dlq-error"] | test("timeout")'
  nsqx dead redrive orders.dead --limit 1
  nsqx tail orders --decode json

A filter is a jq program over {id, nsqd, attempts, timestamp, age_seconds, size, headers, body, json}; json is the body if that is JSON.`

// status is an error with an exit status of its own.
type status struct {
	error
	code int
}

func (s status) Unwrap() error { return s.error }

func usage(format string, args ...any) error {
	return status{fmt.Errorf(format, args...), exitUsage}
}

func part(format string, args ...any) error {
	return status{fmt.Errorf(format, args...), exitPart}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends the process
	os.Exit(run(ctx, os.Args[1:], newTerminal(os.Stdin, os.Stdout, os.Stderr)))
}

// exited is what kong asks for, such as after --help.
type exited int

func run(ctx context.Context, args []string, t *terminal) (code int) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case exited:
			code = int(v)
		default:
			panic(v)
		}
	}()
	var c commands
	parser, err := kong.New(&c, kong.Name("nsqx"), kong.Description(description), kong.UsageOnError(),
		kong.Writers(t.out, t.err), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}))
	if err != nil {
		panic(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(t.err, "nsqx:", safe(err.Error())+"; see nsqx --help")
		return exitUsage
	}
	command.BindTo(ctx, (*context.Context)(nil))
	newline := sync.OnceFunc(t.newline)
	defer context.AfterFunc(ctx, newline)()
	err = command.Run(t, &c.Servers)
	if ctx.Err() != nil {
		newline()
	}
	if err == nil {
		return exitDone
	}
	if errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE) {
		return exitDone // such as of head
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted: what was not done is as it was")
	}
	t.report(err)
	if s, ok := errors.AsType[status](err); ok {
		return s.code
	}
	return exitFailed
}
