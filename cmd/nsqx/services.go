package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxServiceAnswer is the largest answer of a service in bytes.
const maxServiceAnswer = 16 << 20

// serviceFacts are what a service has said at both looks: its consumers and publishers.
type serviceFacts struct {
	addr  string // as given
	err   error
	looks [2][]sourceFacts
}

// sourceFacts are a consumer, or a publisher without a topic, as /statsz of package nsqxhttp shows it.
type sourceFacts struct {
	Name    string
	Healthy string
	Live    string
	Stats   struct {
		Topic, Channel string
		MaxInFlight    int `json:"max_in_flight"`
		Overdue        int
		Paused         bool
		Backoff        bool
		BackoffError   string `json:"backoff_error"`
		InProgress     []struct {
			ID  string
			Age float64 `json:"age_seconds"`
		} `json:"in_progress"`
		Connections []connFacts
		Lookups     []struct {
			Name          string
			LastError     string `json:"last_error"`
			RegisterError string `json:"register_error"`
		}
	}
}

type connFacts struct {
	Addr      string
	Connected bool
	MaxRDY    int   `json:"max_rdy"`
	InFlight  int64 `json:"in_flight"`
	Allowance int
	LastError string `json:"last_error"`
}

// channel is topic/channel, "" for a publisher.
func (s *sourceFacts) channel() string {
	if s.Stats.Topic == "" {
		return ""
	}
	return s.Stats.Topic + "/" + s.Stats.Channel
}

// statsz is the URL to ask.
func statsz(addr string) (string, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usage("--service: %.256q is neither a URL nor host:port", addr)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/statsz"
	}
	return u.String(), nil
}

// askServices asks the services that have answered so far, at look n.
func (f *facts) askServices(ctx context.Context, client *http.Client, n int) {
	free := make(chan struct{}, maxParallel)
	var asking sync.WaitGroup
	for _, s := range f.services {
		asking.Go(func() {
			if s.err != nil {
				return
			}
			if !enter(ctx, free) {
				s.err = ctx.Err()
				return
			}
			s.looks[n], s.err = s.ask(ctx, client)
			<-free
		})
	}
	asking.Wait()
}

func (s *serviceFacts) ask(ctx context.Context, client *http.Client) ([]sourceFacts, error) {
	addr, err := statsz(s.addr)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct{ Sources []sourceFacts }
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", addr, res.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxServiceAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	if len(answer.Sources) == 0 {
		return nil, fmt.Errorf("%s: it names no consumer and no publisher", addr)
	}
	return answer.Sources, nil
}

// sources calls each with what each service has said at the second look.
func (f *facts) sources(each func(service string, s *sourceFacts)) {
	for _, service := range f.services {
		for i := range service.looks[1] {
			each(service.addr, &service.looks[1][i])
		}
	}
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}
