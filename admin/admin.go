// Package admin asks and steers nsqds and nsqlookupds over HTTP.
//
// # When to use what
//
//   - [NSQD] is one nsqd: its statistics, its configuration, and commands for topics and channels.
//   - [Lookupd] is one nsqlookupd: which nsqds, topics and channels it knows.
//   - [Cluster] finds all nsqds, and asks them together.
//
// # Five things to know
//
//  1. Whatever a server answers, a call ends when ctx does, at the latest after the timeout of
//     Config.HTTPClient, which defaults to 5 s, and an answer takes at most Config.MaxAnswer bytes.
//  2. Errors are [*Error]: which server, which status, why. What a server said is quoted in them.
//  3. Names, versions and addresses that servers answer are input: they may have any length and any
//     characters. Quote them before a terminal or a log gets them.
//  4. HTTP has no AUTH: whoever reaches the port of nsqd may do everything that this package does.
//  5. [Delete] and [Empty] cannot be undone, and nsqd does not ask.
//
// # A cluster
//
//	c := admin.Cluster{Lookupds: []string{"127.0.0.1:4161"}}
//	topology, err := c.Topology(ctx)
//	if err != nil {
//		return err
//	}
//	for _, s := range c.Stats(ctx, topology.Nodes, admin.StatsFilter{Topic: "orders"}) {
//		fmt.Println(s.Node.Addr, s.Stats.Topics, s.Err)
//	}
package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/wire"
)

// Config configures clients. The zero value is ready to use.
type Config struct {
	// HTTPClient makes the requests, except that redirects are not followed. It is not changed, and
	// the caller closes its idle connections. Its Timeout limits each request; if 0, it defaults to
	// 5 s. HTTPClient defaults to a client that uses no proxy and keeps no connection.
	HTTPClient *http.Client

	// Authorization returns the value of that header for each request; "" sends no header. The
	// function must return when ctx ends. Defaults to no header.
	Authorization func(ctx context.Context) (string, error)

	// MaxAnswer is the largest answer in bytes. Defaults to 64 MiB.
	MaxAnswer int64
}

const defaultMaxAnswer = 64 << 20

// Command is what can be done to a topic or a channel.
type Command string

// The commands. Delete removes a topic or channel with its messages, Empty its messages alone: those
// in flight, too. Pause stops a topic from giving messages to its channels, or a channel from giving
// them to clients.
const (
	Create  Command = "create"
	Delete  Command = "delete"
	Empty   Command = "empty"
	Pause   Command = "pause"
	Unpause Command = "unpause"
)

// ErrNotFound is what an error Is if a server does not have the topic or the channel.
var ErrNotFound = errors.New("nsqx: no such topic or channel")

// Error is a request that failed.
type Error struct {
	Server string // "nsqd" or "nsqlookupd"
	Addr   string // for HTTP, as given
	Status int    // of HTTP; 0 without an answer
	Err    error  // the cause, such as context.DeadlineExceeded
}

// Error returns the address, the status and the cause. Received text is quoted and cut to 256 bytes.
func (e *Error) Error() string {
	status := ""
	if e.Status != 0 && e.Status != http.StatusOK {
		status = fmt.Sprintf("status %d: ", e.Status)
	}
	return "nsqx: " + e.Server + " at http " + e.Addr + ": " + status + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether the error is [ErrNotFound].
func (e *Error) Is(target error) bool {
	text := e.Err.Error()
	return target == ErrNotFound && e.Status == http.StatusNotFound &&
		(text == "no such topic" || text == strconv.Quote("CHANNEL_NOT_FOUND"))
}

// client makes the requests to one server.
type client struct {
	*lookup.Client
	server string
}

func newClient(server, addr string, cfg Config) (client, error) {
	if cfg.MaxAnswer <= 0 {
		cfg.MaxAnswer = defaultMaxAnswer
	}
	c, err := lookup.NewClient(addr, lookup.Config{HTTPClient: cfg.HTTPClient, Authorization: cfg.Authorization, MaxBody: cfg.MaxAnswer})
	if e, ok := errors.AsType[*lookup.AddressError](err); ok {
		err = &Error{server, e.Addr, 0, errors.New("the address " + e.Reason + `: use "host:port", "http://host:port" or "https://host:port"`)}
	}
	return client{c, server}, err
}

func (c client) do(ctx context.Context, method, path string, query url.Values, body []byte, v any) error {
	status, err := c.Do(ctx, method, path, query, body, v)
	if err != nil {
		return &Error{c.server, c.Addr(), status, err}
	}
	return nil
}

func (c client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.do(ctx, http.MethodGet, path, query, nil, v)
}

// command does cmd, one of allowed, to a topic, or to a channel unless that is "".
func (c client) command(ctx context.Context, cmd Command, topic, channel string, allowed ...Command) error {
	if !slices.Contains(allowed, cmd) {
		return &Error{c.server, c.Addr(), 0, fmt.Errorf("the command %.64q is unknown: use one of %v", string(cmd), allowed)}
	}
	kind, query := "topic", url.Values{"topic": {topic}}
	err := wire.CheckTopic(topic)
	if channel != "" && err == nil {
		kind, err = "channel", wire.CheckChannel(channel)
		query.Set("channel", channel)
	}
	if err != nil {
		return &Error{c.server, c.Addr(), 0, err}
	}
	return c.do(ctx, http.MethodPost, kind+"/"+string(cmd), query, nil, nil)
}

// rootless is an address without its scheme.
func rootless(addr string) string {
	_, rest, ok := strings.Cut(addr, "://")
	if !ok {
		return addr
	}
	return rest
}
