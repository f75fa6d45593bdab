package admin

import (
	"context"
	"net/http"
	"net/url"
)

// Lookupd is one nsqlookupd. Its methods are safe for concurrent use.
type Lookupd struct{ c client }

// NewLookupd returns a client of the nsqlookupd at addr: "host:port", "http://host:port" or
// "https://host:port". It does not connect.
func NewLookupd(addr string, cfg Config) (*Lookupd, error) {
	c, err := newClient("nsqlookupd", addr, cfg)
	if err != nil {
		return nil, err
	}
	return &Lookupd{c}, nil
}

// Addr returns the address as given.
func (l *Lookupd) Addr() string { return l.c.Addr() }

// Version asks for the version.
func (l *Lookupd) Version(ctx context.Context) (string, error) {
	var info Info
	err := l.c.get(ctx, "info", nil, &info)
	return info.Version, err
}

// Producer is an nsqd as a nsqlookupd names it.
type Producer struct {
	RemoteAddress    string   `json:"remote_address"`
	Hostname         string   `json:"hostname"`
	BroadcastAddress string   `json:"broadcast_address"`
	TCPPort          int      `json:"tcp_port"`
	HTTPPort         int      `json:"http_port"`
	Version          string   `json:"version"`
	Topics           []string `json:"topics"`
	Tombstones       []bool   `json:"tombstones"` // of Topics, in their order
}

// Nodes asks for all nsqds.
func (l *Lookupd) Nodes(ctx context.Context) ([]Producer, error) {
	var list struct {
		Producers []Producer `json:"producers"`
	}
	err := l.c.get(ctx, "nodes", nil, &list)
	return list.Producers, err
}

// Topics asks for all topics.
func (l *Lookupd) Topics(ctx context.Context) ([]string, error) {
	var list struct {
		Topics []string `json:"topics"`
	}
	err := l.c.get(ctx, "topics", nil, &list)
	return list.Topics, err
}

// Channels asks for the channels of a topic at any nsqd. It is empty for an unknown topic.
func (l *Lookupd) Channels(ctx context.Context, topic string) ([]string, error) {
	var list struct {
		Channels []string `json:"channels"`
	}
	err := l.c.get(ctx, "channels", url.Values{"topic": {topic}}, &list)
	return list.Channels, err
}

// Do does a command, [Create] or [Delete], to a topic, or to a channel unless that is "". Only the
// registration changes: nsqds create the channels of a topic that is registered when they get its
// first message, and what they have they register again. Delete returns [ErrNotFound] for a channel
// that is not registered.
func (l *Lookupd) Do(ctx context.Context, cmd Command, topic, channel string) error {
	return l.c.command(ctx, cmd, topic, channel, Create, Delete)
}

// Tombstone hides a topic at an nsqd, "host:port" of its HTTP interface, from who asks for the topic,
// for 45 s by default.
func (l *Lookupd) Tombstone(ctx context.Context, topic, nsqd string) error {
	return l.c.do(ctx, http.MethodPost, "topic/tombstone", url.Values{"topic": {topic}, "node": {nsqd}}, nil, nil)
}
