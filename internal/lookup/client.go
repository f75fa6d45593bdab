package lookup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	defaultMaxAddrs = 4096
	maxBody         = 1 << 20 // bytes of an answer, decompressed
)

// Config is how a Client asks. Its zero value is ready to use.
type Config struct {
	// HTTPClient is used as it is, but for redirects: none is followed. It is not changed, and its idle connections are its owner's.
	// Its Timeout bounds all of a poll, Authorization included. Defaults, if nil, to a client of its own that uses no proxy and keeps no connection; if the
	// Timeout is 0, to 5 s.
	HTTPClient *http.Client

	// Authorization returns the value of that header, for each request; "" sends none. It is sent to the address asked and to no
	// other, in clear text if that is not https, and is in no error. It has to return when ctx ends.
	Authorization func(ctx context.Context) (string, error)

	// MaxAddrs is the most addresses that are taken from one answer, before any filter of Table's. Defaults to 4096.
	MaxAddrs int
}

// Client asks one nsqlookupd. It may be used by several goroutines at once, keeps nothing between two polls, and needs no closing.
type Client struct {
	addr    string
	base    *url.URL
	http    http.Client
	timeout time.Duration
	cfg     Config
}

// NewClient returns an *AddressError for an address that [CheckAddress] does not take. It does not ask yet.
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
	c := &Client{addr: addr, base: base, http: *cfg.HTTPClient, timeout: cfg.HTTPClient.Timeout, cfg: cfg}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	// Another port of the same host would still get the Authorization.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Addr is the address, as it was given.
func (c *Client) Addr() string { return c.addr }

// Lookup asks for the nsqds that have a topic. That there are none is no error. Errors are *Error.
func (c *Client) Lookup(ctx context.Context, topic string) (Answer, error) {
	answer, err := c.poll(ctx, "lookup", url.Values{"topic": {topic}})
	if errors.Is(err, errNoTopic) {
		return Answer{NoTopic: true}, nil
	}
	return answer, err
}

// Nodes asks for all nsqds, whatever topics they have. Errors are *Error.
func (c *Client) Nodes(ctx context.Context) (Answer, error) {
	return c.poll(ctx, "nodes", nil)
}

func (c *Client) poll(ctx context.Context, path string, query url.Values) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	secret := ""
	if c.cfg.Authorization != nil {
		var err error
		if secret, err = c.cfg.Authorization(ctx); err != nil {
			return Answer{}, &Error{Lookupd: c.addr, Err: fmt.Errorf("no Authorization: %w", err)}
		}
	}
	status, body, err := c.get(ctx, path, query, secret)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // rather than that the connection was closed, which is how it ended
	}
	if err != nil && (status == 0 || status == http.StatusOK) {
		return Answer{}, &Error{Lookupd: c.addr, Status: status, Err: clean(err, secret)}
	}
	answer, status, err := parse(status, body, c.cfg.MaxAddrs) // a status other than 200 says enough, whatever became of its body
	if err != nil {
		return Answer{}, &Error{Lookupd: c.addr, Status: status, Err: clean(err, secret)}
	}
	return answer, nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, secret string) (status int, body []byte, err error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(withPoll(ctx), http.MethodGet, target.String(), nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0") // without it, old servers answer in the old form
	req.Header.Set("User-Agent", "nsqx")
	if secret != "" {
		req.Header.Set("Authorization", secret)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // the rest is the address, which Error has
		}
		return 0, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols { // its body would not end with ctx
		return res.StatusCode, nil, nil
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if len(body) > maxBody {
		return res.StatusCode, nil, errors.New("the answer is larger than 1 MiB")
	}
	return res.StatusCode, body, err
}
