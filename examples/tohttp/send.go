package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// sender sends messages to servers.
type sender struct {
	client  *http.Client
	header  http.Header
	targets *targets
	rejects bool // a message that is refused is a dead letter
}

// newSender checks the URLs and the headers of cfg.
func newSender(cfg config) (*sender, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, cfg.concurrency // else they are dialled anew
	s := &sender{header: cfg.header, targets: newTargets(cfg), rejects: cfg.deadLetter != "", client: &http.Client{
		Transport: transport,
		Timeout:   cfg.timeout,
		// A redirect turns a POST into a GET without the message, whose success would mean nothing.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	// The transport looks at the request first, and then at its context, which has ended.
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	var faults []error
	for _, t := range s.targets.all {
		req, err := s.request(ended, t, []byte("message"))
		if err == nil {
			t.host = req.URL.Host
			_, err = transport.RoundTrip(req)
		}
		if !errors.Is(err, context.Canceled) {
			faults = append(faults, fmt.Errorf("no request to %q is possible: %w", t.url, withoutURL(err)))
		}
	}
	return s, errors.Join(faults...)
}

// handle is the handler.
func (s *sender) handle(ctx context.Context, body []byte) error {
	chosen := s.targets.choose(time.Now())
	failures := make([]*failure, len(chosen))
	var requests sync.WaitGroup
	for i, t := range chosen {
		requests.Go(func() { failures[i] = s.send(ctx, t, body) })
	}
	requests.Wait()
	return s.answer(slices.DeleteFunc(failures, func(f *failure) bool { return f == nil }))
}

// failure is why one server has not taken a message.
type failure struct {
	error
	after   time.Duration // that the server asks for; 0 if it does not
	refused bool          // no server will take the message
}

// answer makes of the failures what becomes of the message. It is refused if each server that has not
// taken it has refused it.
func (s *sender) answer(failures []*failure) error {
	var errs []error
	var after time.Duration
	refused := true
	for _, f := range failures {
		errs = append(errs, f.error)
		after = max(after, f.after)
		refused = refused && f.refused
	}
	err := errors.Join(errs...)
	switch {
	case err == nil:
		return nil
	case refused && s.rejects:
		return retry.Permanent(err)
	case refused:
		return retry.Quietly(err) // it says nothing of the servers
	case after > 0:
		return retry.After(after+rand.N(after/4+1), err) // not all at once
	}
	return err // the policy of the consumer decides
}

// send sends a message to one server. It returns nil if the server has taken it.
func (s *sender) send(ctx context.Context, t *target, body []byte) *failure {
	req, err := s.request(ctx, t, body)
	if err != nil {
		return &failure{error: withoutURL(err)}
	}
	res, err := s.client.Do(req)
	if err != nil {
		if ctx.Err() == nil { // else the request has ended with the message
			s.targets.report(t, time.Now(), false)
		}
		return &failure{error: fmt.Errorf("%s %s: %w", req.Method, t.host, withoutURL(err))}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection is used again
	_ = res.Body.Close()
	code := res.StatusCode
	s.targets.report(t, time.Now(), code < 500 && code != http.StatusTooManyRequests)
	if code/100 == 2 {
		return nil
	}
	return &failure{
		error:   fmt.Errorf("%s %s: status %d", req.Method, t.host, code),
		after:   retryAfter(res.Header.Get("Retry-After"), time.Now()),
		refused: slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity}, code),
	}
}

// request makes the request for a message.
func (s *sender) request(ctx context.Context, t *target, body []byte) (req *http.Request, err error) {
	if t.get {
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(t.url, "%s", url.QueryEscape(string(body)), 1), nil)
	} else {
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	}
	if err == nil {
		req.Header = s.header.Clone()
	}
	return req, err
}

// withoutURL removes the URL from an error of net/http: a message may be part of it.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// retryAfter returns what a header Retry-After says, in seconds or as a time; 0 if it says nothing.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), 24*3600)) * time.Second // nsqd allows an hour by default
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), 24*time.Hour)
}

// sample returns middleware that lets a part of the messages pass, and finishes the others. The id
// decides, so a message that passed once also passes when it comes again.
func sample(part float64) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			dice := rand.New(rand.NewPCG(binary.BigEndian.Uint64(m.ID[:8]), binary.BigEndian.Uint64(m.ID[8:])))
			if dice.Float64() >= part {
				return nil
			}
			return next(ctx, m)
		}
	}
}
