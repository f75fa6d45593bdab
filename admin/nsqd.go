package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// NSQD is one nsqd. Its methods are safe for concurrent use.
type NSQD struct{ c client }

// NewNSQD returns a client of the nsqd at addr: "host:port", "http://host:port" or
// "https://host:port" of its HTTP interface. It does not connect.
func NewNSQD(addr string, cfg Config) (*NSQD, error) {
	c, err := newClient("nsqd", addr, cfg)
	if err != nil {
		return nil, err
	}
	return &NSQD{c}, nil
}

// Addr returns the address as given.
func (n *NSQD) Addr() string { return n.c.Addr() }

// Info is what an nsqd says of itself.
type Info struct {
	Version          string `json:"version"`
	BroadcastAddress string `json:"broadcast_address"`
	Hostname         string `json:"hostname"`
	HTTPPort         int    `json:"http_port"`
	TCPPort          int    `json:"tcp_port"` // for clients; -1 for a unix socket
	StartTime        int64  `json:"start_time"`
}

// Info asks which nsqd this is.
func (n *NSQD) Info(ctx context.Context) (Info, error) {
	var info Info
	err := n.c.get(ctx, "info", nil, &info)
	return info, err
}

// StatsFilter says which statistics are wanted. The zero value is all topics and channels, without
// clients.
type StatsFilter struct {
	Topic, Channel string // "" for all
	Clients        bool   // with the clients of each channel
}

// Stats are the statistics of one nsqd.
type Stats struct {
	Version   string       `json:"version"`
	Health    string       `json:"health"` // "OK", or what is wrong
	StartTime int64        `json:"start_time"`
	Topics    []TopicStats `json:"topics"`
}

// TopicStats are the statistics of a topic at one nsqd.
type TopicStats struct {
	Name         string         `json:"topic_name"`
	Depth        int64          `json:"depth"`         // messages that no channel has yet
	BackendDepth int64          `json:"backend_depth"` // of these, on disk
	Messages     uint64         `json:"message_count"` // published since nsqd started
	Bytes        uint64         `json:"message_bytes"`
	Paused       bool           `json:"paused"`
	Channels     []ChannelStats `json:"channels"`
}

// ChannelStats are the statistics of a channel at one nsqd. Counters begin when nsqd starts.
type ChannelStats struct {
	Name         string        `json:"channel_name"`
	Depth        int64         `json:"depth"`
	BackendDepth int64         `json:"backend_depth"` // of these, on disk
	InFlight     int64         `json:"in_flight_count"`
	Deferred     int64         `json:"deferred_count"`
	Messages     uint64        `json:"message_count"`
	Requeued     uint64        `json:"requeue_count"`
	TimedOut     uint64        `json:"timeout_count"`
	ClientCount  int           `json:"client_count"`
	Paused       bool          `json:"paused"`
	Clients      []ClientStats `json:"clients"`
}

// Unfinished returns the number of messages in the channel: waiting, in flight and deferred.
func (c *ChannelStats) Unfinished() int64 { return c.Depth + c.InFlight + c.Deferred }

// ClientStats are the statistics of a client of a channel.
type ClientStats struct {
	ID            string `json:"client_id"`
	Hostname      string `json:"hostname"`
	RemoteAddress string `json:"remote_address"`
	UserAgent     string `json:"user_agent"`
	Ready         int64  `json:"ready_count"`
	InFlight      int64  `json:"in_flight_count"`
	Messages      uint64 `json:"message_count"`
	Finished      uint64 `json:"finish_count"`
	Requeued      uint64 `json:"requeue_count"`
	ConnectTime   int64  `json:"connect_ts"`
	TLS           bool   `json:"tls"`
	Authed        bool   `json:"authed"`
}

// Stats asks for statistics.
func (n *NSQD) Stats(ctx context.Context, f StatsFilter) (Stats, error) {
	query := url.Values{"format": {"json"}, "include_mem": {"false"}, "include_clients": {fmt.Sprint(f.Clients)}}
	if f.Topic != "" {
		query.Set("topic", f.Topic)
	}
	if f.Channel != "" {
		query.Set("channel", f.Channel)
	}
	var stats statsAnswer
	err := n.c.get(ctx, "stats", query, &stats)
	return Stats(stats), err
}

// statsAnswer is Stats with a Check.
type statsAnswer Stats

// Check implements lookup.Checker. It refuses an answer of tiny elements, which takes many times its
// size in memory: nsqd's own have 20 bytes and more to a comma.
func (*statsAnswer) Check(answer []byte) error {
	if len(answer) > 64<<10 && bytes.Count(answer, []byte{','}) > len(answer)/10 {
		return errors.New("the answer is not that of an nsqd: it has a comma in ten bytes")
	}
	return nil
}

// Channels returns the channels of a topic, with the number of messages in each: waiting, in flight
// and deferred. It is empty if nsqd does not have the topic.
func (n *NSQD) Channels(ctx context.Context, topic string) (map[string]int64, error) {
	stats, err := n.Stats(ctx, StatsFilter{Topic: topic})
	if err != nil {
		return nil, err
	}
	all := make(map[string]int64)
	for _, t := range stats.Topics {
		for _, ch := range t.Channels {
			if t.Name == topic {
				all[ch.Name] = ch.Unfinished()
			}
		}
	}
	return all, nil
}

// Do does a command to a topic, or to a channel unless that is "". Each but Create returns
// [ErrNotFound] if there is none.
func (n *NSQD) Do(ctx context.Context, cmd Command, topic, channel string) error {
	return n.c.command(ctx, cmd, topic, channel, Create, Delete, Empty, Pause, Unpause)
}

// Option reads an option of the configuration into v, such as max_req_timeout (see [NSQD.Duration])
// or id. Names are those of nsqd's configuration file.
func (n *NSQD) Option(ctx context.Context, name string, v any) error {
	return n.c.get(ctx, "config/"+url.PathEscape(name), nil, v)
}

// Duration reads an option that is a duration.
func (n *NSQD) Duration(ctx context.Context, name string) (time.Duration, error) {
	var d time.Duration
	err := n.Option(ctx, name, &d)
	return d, err
}

// SetOption changes an option until nsqd ends: log_level, or nsqlookupd_tcp_addresses, which is a
// list of strings. A string is sent as it is, any other value as JSON.
func (n *NSQD) SetOption(ctx context.Context, name string, v any) error {
	body, isText := v.(string)
	if !isText {
		data, err := json.Marshal(v)
		if err != nil {
			return &Error{n.c.server, n.c.Addr(), 0, err}
		}
		body = string(data)
	}
	return n.c.do(ctx, http.MethodPut, "config/"+url.PathEscape(name), nil, []byte(body), nil)
}
