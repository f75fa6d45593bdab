package discover

import (
	"context"
	"fmt"

	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/observe"
)

// lookupd is one nsqlookupd as a Source.
type lookupd struct{ *lookup.Client }

func (l lookupd) Discover(ctx context.Context, topic string) ([]string, error) {
	if topic == "" {
		return l.addrs(l.Nodes(ctx))
	}
	return l.addrs(l.Lookup(ctx, topic))
}

// addrs returns what an answer is for a Source.
func (l lookupd) addrs(answer lookup.Answer, err error) ([]string, error) {
	switch dropped := answer.Surplus + answer.Invalid; {
	case err != nil:
		return nil, err
	case answer.NoTopic:
		return nil, notice{observe.ErrNoTopic}
	case dropped > 0:
		return answer.Addrs, notice{fmt.Errorf("nsqx: nsqlookupd %s named %d addresses that cannot be used", l.Addr(), dropped)}
	}
	return answer.Addrs, nil
}

// notice is an error beside an answer that can be relied on.
type notice struct{ error }

// Unwrap returns the error, such as observe.ErrNoTopic.
func (n notice) Unwrap() error { return n.error }
