package main

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/nsqio/nsq/nsqd"
)

// nsqdRequest asks an nsqd's process for the state of a topic. The process creates the topic, and
// the scenario's channel, if they do not exist.
type nsqdRequest struct {
	Topic  string
	Delete bool // after reading the state
}

type nsqdState struct {
	CPU time.Duration // of the process so far

	Published                          int // messages accepted
	Waiting                            int // messages not yet in the channel
	Clients, Depth, InFlight, Deferred int // of the channel
	Requeued, TimedOut                 int // by the channel so far
}

type quietLogger struct{}

func (quietLogger) Output(int, string) error { return nil }

// runNSQD runs a real nsqd with default options, except its addresses, directory and log. It
// announces its address and then answers requests until in ends.
func runNSQD(j job, in io.Reader, out *json.Encoder) error {
	o := nsqd.NewOptions()
	o.Logger, o.LogLevel = quietLogger{}, nsqd.LOG_FATAL
	o.DataPath, o.ID = j.Dir, j.ID
	o.TCPAddress, o.HTTPAddress, o.BroadcastAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"
	if j.Scenario == "drain" {
		o.MemQueueSize = int64(j.Messages) // do not measure the disk
	}
	d, err := nsqd.New(o)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- d.Main() }()
	err = errors.Join(out.Encode(d.RealTCPAddr().String()), answer(d, j, json.NewDecoder(in), out))
	d.Exit()
	return errors.Join(err, <-served)
}

func answer(d *nsqd.NSQD, j job, in *json.Decoder, out *json.Encoder) error {
	for {
		var request nsqdRequest
		switch err := in.Decode(&request); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		state := stateOf(d, request.Topic, j.channel())
		if request.Delete {
			if err := d.DeleteExistingTopic(request.Topic); err != nil {
				return err
			}
		}
		if err := out.Encode(state); err != nil {
			return err
		}
	}
}

func stateOf(d *nsqd.NSQD, topic, channel string) nsqdState {
	t := d.GetTopic(topic)
	if channel != "" {
		t.GetChannel(channel)
	}
	state := nsqdState{CPU: cpuTime()}
	for _, t := range d.GetStats(topic, channel, false).Topics {
		state.Published, state.Waiting = int(t.MessageCount), int(t.Depth)
		for _, c := range t.Channels {
			state.Clients = c.ClientCount
			state.Depth = int(c.Depth)
			state.InFlight = c.InFlightCount
			state.Deferred = c.DeferredCount
			state.Requeued = int(c.RequeueCount)
			state.TimedOut = int(c.TimeoutCount)
		}
	}
	return state
}
