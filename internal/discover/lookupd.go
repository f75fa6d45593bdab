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
	ask := func(ctx context.Context) (lookup.Answer, error) { return l.Lookup(ctx, topic) }
	if topic == "" {
		ask = l.Nodes
	}
	answer, err := ask(ctx)
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

// Unwrap returns the error.
func (n notice) Unwrap() error { return n.error }
