package lookup

import (
	"context"
	"net/http"
	"net/url"
)

// Register makes a topic and a channel known to nsqlookupd. An nsqd that makes the topic later asks
// for its channels, and makes them before the first message. Registering again changes nothing.
// nsqlookupd keeps both until they are deleted or it restarts. Errors are *Error.
//
// All of it must be done within the timeout of a poll.
func (c *Client) Register(ctx context.Context, topic, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	secret, err := c.authorization(ctx)
	if err != nil {
		return err
	}
	if err := c.create(ctx, "topic/create", url.Values{"topic": {topic}}, secret); err != nil {
		return err
	}
	return c.create(ctx, "channel/create", url.Values{"topic": {topic}, "channel": {channel}}, secret)
}

func (c *Client) create(ctx context.Context, path string, query url.Values, secret string) error {
	status, body, err := c.request(ctx, http.MethodPost, path, query, secret)
	if err != nil {
		return err
	}
	if status, err = unwrap(status, body, nil); err != nil {
		return &Error{Lookupd: c.addr, Status: status, Err: clean(err, secret)}
	}
	return nil
}
