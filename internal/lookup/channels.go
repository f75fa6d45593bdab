package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// Channels asks for the channels of a topic, at any nsqd. It is empty for an unknown topic. Errors
// are *Error.
func (c *Client) Channels(ctx context.Context, topic string) ([]string, error) {
	var list struct {
		Channels []string `json:"channels"`
	}
	status, err := c.Do(ctx, http.MethodGet, "channels", url.Values{"topic": {topic}}, nil, &list)
	if err != nil && !errors.Is(err, errNoTopic) {
		return nil, &Error{Lookupd: c.addr, Status: status, Err: err}
	}
	return list.Channels, nil
}

// Do makes one request, such as for the path "stats", and decodes an answer with status 200 into v,
// unless v is nil. It returns the status, 0 without an answer. Errors are safe for a log and do not
// name the address; that of a status other than 200 has the text of the answer.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body []byte, v any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	secret, err := c.authorization(ctx)
	if err != nil {
		return 0, errors.Unwrap(err)
	}
	status, answer, err := c.send(ctx, method, path, query, body, secret)
	switch {
	case err != nil && ctx.Err() != nil:
		return status, ctx.Err() // rather than an error of the closed connection
	case err == nil || status != 0 && status != http.StatusOK: // then the text may be incomplete
		status, err = unwrap(status, answer, v)
	}
	if err != nil {
		err = clean(err, secret)
	}
	return status, err
}

// Checker is a value that looks at an answer before it is decoded into it.
type Checker interface{ Check(answer []byte) error }

// unwrap decodes an answer, which before NSQ 1.0 was the data of {"status_code", "data"}. It is not
// decoded if v is nil.
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
		return status, refusal(status, body)
	case v == nil:
		return status, nil
	case err == nil && old.Data != nil:
		body = old.Data
	}
	if c, ok := v.(Checker); ok {
		if err := c.Check(body); err != nil {
			return status, err
		}
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
