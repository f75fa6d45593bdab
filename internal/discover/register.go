package discover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// errForgets is why a registration that was accepted counts as failed.
var errForgets = errors.New("it accepts registrations, and does not know them later")

// registrar is a nsqlookupd at which a topic and a channel are registered, as a Source. It has the
// memory of one goroutine.
//
// A channel gets messages from when an nsqd has made it. An nsqd that makes a topic, at its first
// message, asks nsqlookupd for the topic's channels and makes those first. So a channel that is
// registered before that misses nothing, however late its consumer finds the nsqd.
type registrar struct {
	*lookup.Client
	topic, channel string

	known    bool // the last answer knew the channel
	missing  bool // the last answer did not know the channel
	accepted int  // registrations in a row that were accepted, without the channel in an answer
	failed   bool // it was said that it fails
}

// Discover asks as lookupd does, and notes whether the channel is registered.
func (r *registrar) Discover(ctx context.Context, topic string) ([]string, error) {
	answer, err := r.Lookup(ctx, topic)
	r.known = err == nil && slices.Contains(answer.Channels, r.channel)
	r.missing = err == nil && !r.known
	return lookupd{r.Client}.addrs(answer, err)
}

// register registers topic and channel at a nsqlookupd that does not know them. It is done after each
// poll, since nsqlookupd forgets when it restarts.
func (d *Discovery) register(ctx context.Context, s *source) {
	d.mu.Lock()
	skip := s.registrar == nil || d.deleting(s)
	d.mu.Unlock()
	var err error
	tried := false
	if !skip && ctx.Err() == nil && !s.room.Taken() { // else the poll hangs
		tried, err = s.registrar.register(ctx, &s.room)
	}
	if ctx.Err() != nil {
		return // the owner ends
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.done = true
	if !tried {
		return
	}
	if s.stats.RegisterErr = err; err != nil {
		s.stats.RegisterErrors++
	}
	if fails := err != nil; fails != s.registrar.failed {
		s.registrar.failed = fails
		d.owner.Post(notify.Event{Kind: notify.Register, Source: s.stats.Name, ConnEvent: observe.ConnEvent{Err: err}})
	}
}

// register returns false if nothing was tried and nothing is known of it: the poll has failed.
func (r *registrar) register(ctx context.Context, room *guard.Room) (tried bool, err error) {
	switch {
	case r.known:
		r.accepted = 0
		return true, nil
	case !r.missing:
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	_, err = guard.Within(ctx, room, func() (struct{}, error) { // Authorization and HTTPClient are user code
		return struct{}{}, r.Register(ctx, r.topic, r.channel)
	}, nil)
	if err != nil {
		return true, err
	}
	if r.accepted++; r.accepted > 2 { // it may have restarted once
		return true, &lookup.Error{Lookupd: r.Addr(), Err: fmt.Errorf("topic %s, channel %s: %w", r.topic, r.channel, errForgets)}
	}
	return true, nil
}

func isEphemeral(name string) bool { return strings.HasSuffix(name, "#ephemeral") }
