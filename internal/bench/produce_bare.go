package main

import (
	"context"
	"time"
)

// openBare is as little as a client can do: one goroutine writes as many PUBs at once as other clients have goroutines, and then
// reads their OKs.
func openBare(ctx context.Context, j job) (publish func(l *lane, n int) error, end func() error, err error) {
	f, err := dialFeed(ctx, j.Addrs[0])
	if err == nil {
		err = f.settle()
	}
	if err != nil {
		return nil, nil, err
	}
	one := newPublisher(j).command
	var commands []byte
	for range j.Goroutines {
		commands = append(commands, one...)
	}
	publish = func(l *lane, n int) error {
		for left := n; left > 0; left -= j.Goroutines {
			if err := publishBare(l, f, commands[:min(left, j.Goroutines)*len(one)], min(left, j.Goroutines)); err != nil {
				return err
			}
		}
		return nil
	}
	return publish, f.conn.Close, nil
}

func publishBare(l *lane, f *feed, commands []byte, n int) error {
	began := time.Now()
	if err := f.sendAll(commands, n); err != nil {
		return err
	}
	for f.owed > 0 {
		before := f.owed
		if err := f.receive(); err != nil {
			return err
		}
		took := time.Since(began)
		for range before - f.owed {
			l.latencies = append(l.latencies, took)
		}
	}
	return nil
}
