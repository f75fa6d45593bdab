// Package embedded runs nsqd in the process of an example, so nothing needs to be installed.
package embedded

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx/conn"
)

// NSQD starts nsqd on free ports, in a temporary directory. exit stops nsqd and removes the
// directory.
func NSQD() (d *nsqd.NSQD, exit func() error, err error) {
	dir, err := os.MkdirTemp("", "nsqx-example-")
	if err != nil {
		return nil, nil, err
	}
	o := nsqd.NewOptions()
	o.DataPath = dir
	o.TCPAddress, o.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0" // the kernel chooses free ports
	o.Logger = log.New(io.Discard, "", 0)
	// By default nsqd looks for channels with deferred messages every 5 s, too slow for an example.
	o.QueueScanInterval, o.QueueScanRefreshInterval = 10*time.Millisecond, 50*time.Millisecond
	d, err = nsqd.New(o)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Main() }()
	exit = func() error {
		d.Exit()
		return errors.Join(<-ended, os.RemoveAll(dir))
	}
	// nsqd must not exit before Main has started, so wait until it answers.
	c, err := conn.Dial(context.Background(), d.RealTCPAddr().String(), conn.Config{}, nil)
	if err != nil {
		return nil, nil, errors.Join(err, exit())
	}
	c.Abort(nil)
	return d, exit, nil
}

// Unfinished returns the number of messages of a topic that are not finished.
func Unfinished(d *nsqd.NSQD, topic string) (n int) {
	for _, t := range d.GetStats(topic, "", false).Topics {
		n += int(t.Depth)
		for _, c := range t.Channels {
			n += int(c.Depth) + c.InFlightCount + c.DeferredCount
		}
	}
	return n
}
