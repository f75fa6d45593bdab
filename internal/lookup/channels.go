package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// Channels asks for the channels of a topic, at any nsqd. It is empty for an unknown topic. Errors
// are *Error.
func (c *Client) Channels(ctx context.Context, topic string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	secret, err := c.authorization(ctx)
	if err != nil {
		return nil, err
	}
	status, body, err := c.request(ctx, http.MethodGet, "channels", url.Values{"topic": {topic}}, secret)
	if err != nil {
		return nil, err
	}
	var list struct {
		Channels []string `json:"channels"`
	}
	if status, err = unwrap(status, body, &list); err != nil {
		return nil, &Error{Lookupd: c.addr, Status: status, Err: clean(err, secret)}
	}
	return list.Channels, nil
}

// NSQD asks one nsqd over HTTP. It is safe for concurrent use.
type NSQD struct{ c *Client }

// NewNSQD returns an *AddressError if [CheckAddress] does. client may be nil: see Config.
func NewNSQD(addr string, client *http.Client) (*NSQD, error) {
	c, err := NewClient(addr, Config{HTTPClient: client})
	if err != nil {
		return nil, err
	}
	return &NSQD{c}, nil
}

// Channels returns the channels of a topic, with the number of messages in each: waiting, in flight
// and deferred. It is empty if nsqd does not have the topic.
func (n *NSQD) Channels(ctx context.Context, topic string) (map[string]int64, error) {
	var stats struct {
		Topics []struct {
			Name     string `json:"topic_name"`
			Channels []struct {
				Name     string `json:"channel_name"`
				Depth    int64  `json:"depth"`
				InFlight int64  `json:"in_flight_count"`
				Deferred int64  `json:"deferred_count"`
			} `json:"channels"`
		} `json:"topics"`
	}
	query := url.Values{"format": {"json"}, "topic": {topic}, "include_clients": {"false"}, "include_mem": {"false"}}
	if err := n.get(ctx, "stats", query, &stats); err != nil {
		return nil, err
	}
	all := make(map[string]int64)
	for _, t := range stats.Topics {
		for _, ch := range t.Channels {
			if t.Name == topic {
				all[ch.Name] = ch.Depth + ch.InFlight + ch.Deferred
			}
		}
	}
	return all, nil
}

// Port returns the port for clients.
func (n *NSQD) Port(ctx context.Context) (int, error) {
	var info struct {
		Port int `json:"tcp_port"`
	}
	err := n.get(ctx, "info", nil, &info)
	return info.Port, err
}

func (n *NSQD) get(ctx context.Context, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, n.c.timeout)
	defer cancel()
	status, body, err := n.c.send(ctx, http.MethodGet, path, query, "")
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		_, err = unwrap(status, body, v)
	}
	if err != nil {
		return fmt.Errorf("nsqx: nsqd at http %s: %w", n.c.addr, clean(err, ""))
	}
	return nil
}

// unwrap decodes an answer, which before NSQ 1.0 was the data of {"status_code", "data"}.
func unwrap(status int, body []byte, v any) (int, error) {
	var old struct {
		StatusCode int             `json:"status_code"`
		Data       json.RawMessage `json:"data"`
	}
	err := json.Unmarshal(body, &old)
	if err == nil && status == http.StatusOK && old.StatusCode != 0 {
		status = old.StatusCode
	}
	switch {
	case status != http.StatusOK:
		if err := refusal(status, body); !errors.Is(err, errNoTopic) {
			return status, fmt.Errorf("status %d: %w", status, err)
		}
		return status, nil
	case err == nil && old.Data != nil:
		body = old.Data
	}
	return status, json.Unmarshal(body, v)
}

// NextPort is where an nsqd with default ports answers HTTP: the port above that for clients. ok is
// false for an address that is not host:port.
func NextPort(addr string) (http string, port int, ok bool) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, false
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 1 || port > 65534 {
		return "", 0, false
	}
	return net.JoinHostPort(host, strconv.Itoa(port+1)), port, true
}
