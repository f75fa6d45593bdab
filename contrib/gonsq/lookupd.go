package gonsq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxAnswer is the size in bytes of the largest answer of a nsqlookupd.
const maxAnswer = 16 << 20

// lookupds are the nsqlookupds of a consumer, as an nsqx.Discoverer.
type lookupds struct {
	authorization string // header; "" for none

	mu      sync.Mutex
	urls    []string
	client  *http.Client
	own     *http.Client // the default of client
	filter  DiscoveryFilter
	version int           // counts changes of urls
	polled  int           // version of the last poll that has ended
	found   []string      // by that poll
	changed chan struct{} // closed, and replaced, when a nsqlookupd is added
}

func newLookupds(cfg *Config) *lookupds {
	l := &lookupds{changed: make(chan struct{})}
	l.own = &http.Client{
		Timeout:   max(cfg.LookupdPollTimeout, 0),
		Transport: &http.Transport{DisableKeepAlives: true}, // polls are rare
	}
	l.client = l.own
	if cfg.AuthSecret != "" && cfg.LookupdAuthorization {
		l.authorization = "Bearer " + cfg.AuthSecret
	}
	return l
}

func (l *lookupds) setFilter(f DiscoveryFilter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filter = f
}

func (l *lookupds) setClient(c *http.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client = c; c == nil {
		l.client = l.own
	}
}

// add adds a nsqlookupd, and returns the version for answered; 0 if it is known.
func (l *lookupds) add(addr, topic string) (version int, err error) {
	u, err := lookupURL(addr, topic)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.urls, u) {
		return 0, nil
	}
	l.urls = append(l.urls, u)
	l.version++
	close(l.changed)
	l.changed = make(chan struct{})
	return l.version, nil
}

// remove removes a nsqlookupd.
func (l *lookupds) remove(addr, topic string) error {
	u, err := lookupURL(addr, topic)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.urls, u)
	switch {
	case i < 0:
		return ErrNotConnected
	case len(l.urls) == 1:
		return fmt.Errorf("cannot disconnect from only remaining nsqlookupd HTTP address %s", addr)
	}
	l.urls = slices.Delete(l.urls, i, i+1)
	return nil
}

// answered reports whether a poll has ended that asked the nsqlookupds of a version, and what it found.
func (l *lookupds) answered(version int) (found []string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found, l.polled >= version
}

// Changed makes nsqx poll when a nsqlookupd was added.
func (l *lookupds) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Discover implements nsqx.Discoverer: it asks all nsqlookupds at once.
func (l *lookupds) Discover(ctx context.Context, _ string) ([]string, error) {
	l.mu.Lock()
	urls, version, client, filter := slices.Clone(l.urls), l.version, l.client, l.filter
	l.mu.Unlock()
	found, errs := make([][]string, len(urls)), make([]error, len(urls))
	var asked sync.WaitGroup
	for i, u := range urls {
		asked.Go(func() { found[i], errs[i] = l.ask(ctx, client, u) })
	}
	asked.Wait()
	var all []string
	for _, addrs := range found {
		if filter != nil && len(addrs) > 0 {
			addrs = filter.Filter(addrs)
		}
		all = append(all, addrs...)
	}
	l.mu.Lock()
	l.polled, l.found = version, all
	l.mu.Unlock()
	return all, errors.Join(errs...)
}

// ask asks one nsqlookupd.
func (l *lookupds) ask(ctx context.Context, client *http.Client, u string) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0")
	if l.authorization != "" {
		req.Header.Set("Authorization", l.authorization)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, fmt.Errorf("gonsq: nsqlookupd %s: %w", req.URL.Host, err)
	case resp.StatusCode == http.StatusNotFound && strings.Contains(string(body), "TOPIC_NOT_FOUND"):
		return nil, nil // the first message creates it
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("gonsq: nsqlookupd %s answered %s: %.256q", req.URL.Host, resp.Status, body)
	}
	var answer struct {
		Producers []struct {
			BroadcastAddress string `json:"broadcast_address"`
			TCPPort          int    `json:"tcp_port"`
		} `json:"producers"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("gonsq: nsqlookupd %s: %w", req.URL.Host, err)
	}
	var addrs []string
	for _, p := range answer.Producers {
		addrs = append(addrs, net.JoinHostPort(p.BroadcastAddress, strconv.Itoa(p.TCPPort)))
	}
	return addrs, nil
}

// lookupURL returns the URL that asks a nsqlookupd for a topic. addr is a host:port or a URL.
func lookupURL(addr, topic string) (string, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil {
		return "", err
	}
	if u.Port() == "" {
		return "", errors.New("missing port")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/lookup"
	}
	q := u.Query()
	q.Add("topic", topic)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
