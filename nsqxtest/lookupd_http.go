package nsqxtest

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

func (l *Lookupd) isStopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// ServeHTTP answers a request. A stopped nsqlookupd ends the connection.
func (l *Lookupd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.requests = append(l.requests, LookupdRequest{Time: time.Now(), Method: r.Method, URL: r.URL.RequestURI()})
	for l.hangs && !l.stopped && r.Context().Err() == nil {
		change := l.change
		l.mu.Unlock()
		select {
		case <-change:
		case <-r.Context().Done():
		}
		l.mu.Lock()
	}
	stopped, hook := l.stopped, l.hooks[r.URL.Path]
	if hook == nil {
		hook = l.hooks[""]
	}
	l.mu.Unlock()
	switch {
	case stopped:
		panic(http.ErrAbortHandler)
	case r.Context().Err() != nil:
	case hook != nil:
		hook.ServeHTTP(w, r)
	default:
		status, body := l.answer(r.Method, r.URL.Path, r.URL.Query())
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		if body != nil {
			_ = json.NewEncoder(w).Encode(body) // an error means that the client is gone
		}
	}
}

// routes are the methods of nsqlookupd's paths.
var routes = map[string]string{
	"/ping": http.MethodGet, "/lookup": http.MethodGet, "/topics": http.MethodGet, "/channels": http.MethodGet, "/nodes": http.MethodGet,
	"/topic/create": http.MethodPost, "/topic/delete": http.MethodPost, "/channel/create": http.MethodPost, "/channel/delete": http.MethodPost,
}

// answer does what nsqlookupd does with a request.
func (l *Lookupd) answer(method, path string, query url.Values) (status int, body any) {
	problem := func(status int, text string) (int, any) { return status, map[string]string{"message": text} }
	wanted, known := routes[path]
	switch {
	case !known:
		return problem(http.StatusNotFound, "NOT_FOUND")
	case method != wanted:
		return problem(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	}
	topic, channel := query.Get("topic"), query.Get("channel")
	switch path {
	case "/lookup", "/channels", "/topic/create", "/topic/delete", "/channel/create", "/channel/delete":
		switch {
		case topic == "":
			return problem(http.StatusBadRequest, "MISSING_ARG_TOPIC")
		case !validName(topic):
			return problem(http.StatusBadRequest, "INVALID_ARG_TOPIC")
		}
	}
	switch path {
	case "/channel/create", "/channel/delete":
		switch {
		case channel == "":
			return problem(http.StatusBadRequest, "MISSING_ARG_CHANNEL")
		case !validName(channel):
			return problem(http.StatusBadRequest, "INVALID_ARG_CHANNEL")
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	channels, exists := l.topics[topic]
	switch path {
	case "/lookup":
		if !exists {
			return problem(http.StatusNotFound, "TOPIC_NOT_FOUND")
		}
		return http.StatusOK, map[string]any{"channels": names(channels), "producers": l.nodes(topic)}
	case "/topics":
		return http.StatusOK, map[string]any{"topics": names(l.topics)}
	case "/channels":
		return http.StatusOK, map[string]any{"channels": names(channels)}
	case "/nodes":
		return http.StatusOK, map[string]any{"producers": l.nodes("")}
	case "/topic/create":
		l.create(topic)
	case "/topic/delete":
		delete(l.topics, topic)
		for _, topics := range l.producers {
			delete(topics, topic)
		}
	case "/channel/create":
		l.create(topic, channel)
	case "/channel/delete":
		if !channels[channel] {
			return problem(http.StatusNotFound, "CHANNEL_NOT_FOUND")
		}
		delete(channels, channel)
	}
	return http.StatusOK, nil
}

// nodes returns the servers that have a topic, or all if it is empty. The caller holds mu.
func (l *Lookupd) nodes(topic string) []map[string]any {
	nodes := []map[string]any{}
	for _, s := range l.servers {
		topics := l.producers[s]
		if topics == nil || topic != "" && !topics[topic] {
			continue
		}
		host, port, _ := net.SplitHostPort(s.Addr()) // an address without a port has port 0, which clients drop
		number, _ := strconv.Atoi(port)
		node := map[string]any{
			"remote_address": s.Addr(), "hostname": host, "broadcast_address": host,
			"tcp_port": number, "http_port": number + 1, "version": "1.3.0",
		}
		if topic == "" {
			node["topics"] = names(topics)
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// names returns the keys of m in order, never nil.
func names[V any](m map[string]V) []string {
	return append([]string{}, slices.Sorted(maps.Keys(m))...)
}
