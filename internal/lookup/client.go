package lookup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	defaultMaxAddrs = 4096
	defaultMaxBody  = 1 << 20
)

// Config configures a Client. The zero value is ready to use.
type Config struct {
	// HTTPClient makes the requests, except that redirects are not followed. It is not changed, and
	// the caller closes its idle connections. Its Timeout limits a whole poll, including
	// Authorization; if 0, it defaults to 5 s. HTTPClient defaults to a client that uses no proxy
	// and keeps no connection.
	HTTPClient *http.Client

	// Authorization returns the value of that header for each request; "" sends no header. The
	// value is sent to the polled address only, in clear text unless it is https, and is not in any
	// error. The function must return when ctx ends.
	Authorization func(ctx context.Context) (string, error)

	// MaxAddrs is the most addresses of one answer. Defaults to 4096.
	MaxAddrs int

	// MaxBody is the largest answer in bytes, decompressed. Defaults to 1 MiB.
	MaxBody int64
}

// Client polls one nsqlookupd. It is safe for concurrent use, keeps no state between polls, and
// need not be closed.
type Client struct {
	addr    string
	base    *url.URL
	http    http.Client
	timeout time.Duration
	cfg     Config
}

// NewClient returns an *AddressError if [CheckAddress] does. It does not poll.
func NewClient(addr string, cfg Config) (*Client, error) {
	base, err := parseAddress(addr)
	if err != nil {
		return nil, err
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = newHTTPClient()
	}
	if cfg.MaxAddrs <= 0 {
		cfg.MaxAddrs = defaultMaxAddrs
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = defaultMaxBody
	}
	c := &Client{addr: addr, base: base, http: *cfg.HTTPClient, timeout: cfg.HTTPClient.Timeout, cfg: cfg}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	// A redirect to another port of the same host would receive the Authorization.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Addr returns the address as given.
func (c *Client) Addr() string { return c.addr }

// URL returns the address in canonical form, so that of the same nsqlookupd it is equal.
func (c *Client) URL() string {
	port, _ := strconv.Atoi(c.base.Port())
	host, _ := join(c.base.Hostname(), port) // cannot fail: parseAddress has checked it
	return c.base.Scheme + "://" + host + strings.TrimRight(c.base.EscapedPath(), "/")
}

// Lookup asks for the nsqds that have a topic. An unknown topic is not an error. Errors are *Error.
func (c *Client) Lookup(ctx context.Context, topic string) (Answer, error) {
	answer, err := c.poll(ctx, "lookup", url.Values{"topic": {topic}})
	if errors.Is(err, errNoTopic) {
		return Answer{NoTopic: true}, nil
	}
	return answer, err
}

// Nodes asks for all nsqds. Errors are *Error.
func (c *Client) Nodes(ctx context.Context) (Answer, error) {
	return c.poll(ctx, "nodes", nil)
}

func (c *Client) poll(ctx context.Context, path string, query url.Values) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	secret, err := c.authorization(ctx)
	if err != nil {
		return Answer{}, err
	}
	status, body, err := c.request(ctx, http.MethodGet, path, query, secret)
	if err != nil {
		return Answer{}, err
	}
	answer, status, err := parse(status, body, c.cfg.MaxAddrs) // the body may be incomplete if the status is not 200
	if err != nil {
		return Answer{}, &Error{Lookupd: c.addr, Status: status, Err: clean(err, secret)}
	}
	return answer, nil
}

// authorization returns the value of the header; "" for none.
func (c *Client) authorization(ctx context.Context) (string, error) {
	if c.cfg.Authorization == nil {
		return "", nil
	}
	secret, err := c.cfg.Authorization(ctx)
	if err != nil {
		return "", &Error{Lookupd: c.addr, Err: fmt.Errorf("no Authorization: %w", err)}
	}
	return secret, nil
}

// request returns the status and the body of an answer. Errors are *Error; an answer whose status is
// not 200 may be incomplete instead.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, secret string) (status int, body []byte, err error) {
	status, body, err = c.send(ctx, method, path, query, nil, secret)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // rather than an error of the closed connection
	}
	if err != nil && (status == 0 || status == http.StatusOK) {
		return status, nil, &Error{Lookupd: c.addr, Status: status, Err: clean(err, secret)}
	}
	return status, body, nil
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, content []byte, secret string) (status int, body []byte, err error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(withPoll(ctx), method, target.String(), bytes.NewReader(content))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0") // without it nsqlookupd before 1.0 answers in the old form
	req.Header.Set("User-Agent", "nsqx")
	if secret != "" {
		req.Header.Set("Authorization", secret)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // Error has the address already
		}
		return 0, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols { // ctx does not end its body
		return res.StatusCode, nil, nil
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, min(c.cfg.MaxBody, math.MaxInt64-1)+1))
	if int64(len(body)) > c.cfg.MaxBody {
		return res.StatusCode, nil, fmt.Errorf("the answer is larger than %d bytes", c.cfg.MaxBody)
	}
	return res.StatusCode, body, err
}
