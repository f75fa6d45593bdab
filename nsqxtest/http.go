package nsqxtest

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
)

// httpTo returns a client whose requests reach the HTTP interfaces of servers, at the port above that
// for clients, and nsqlookupds by their hosts.
func httpTo(servers func() []*Server, lookupds transport) *http.Client {
	return &http.Client{Transport: interfaces{servers, lookupds}}
}

type interfaces struct {
	servers  func() []*Server
	lookupds transport
}

func (t interfaces) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, s := range t.servers() {
		if host, port := s.httpAddr(); r.URL.Host == net.JoinHostPort(host, strconv.Itoa(port)) {
			return s.roundTrip(r, port-1)
		}
	}
	return t.lookupds.RoundTrip(r)
}

// RefuseHTTP sets whether the server refuses requests to its HTTP interface, at the port above its
// own, which nsqx.Redrive asks for the channels of a topic.
func (s *Server) RefuseHTTP(refuse bool) {
	s.mu.Lock()
	defer s.unlock()
	s.noHTTP = refuse
}

// httpAddr is where clients look for the HTTP interface. The port is 0 if the address has none.
func (s *Server) httpAddr() (host string, port int) {
	host, text, err := net.SplitHostPort(s.Addr())
	if number, notANumber := strconv.Atoi(text); err == nil && notANumber == nil {
		port = number + 1
	}
	return host, port
}

// roundTrip answers what nsqx asks an nsqd over HTTP: /info, and /stats of one topic.
func (s *Server) roundTrip(r *http.Request, port int) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.unlock()
	if s.noHTTP || s.refusing || s.stopped || s.closed {
		return nil, refused(r.URL.Host)
	}
	a := &answer{header: make(http.Header)}
	var body any
	switch r.URL.Path {
	case "/info":
		body = map[string]any{"version": "1.3.0", "tcp_port": port, "http_port": port + 1}
	case "/stats":
		body = map[string]any{"version": "1.3.0", "health": "OK", "topics": s.topicStats(r.URL.Query().Get("topic"))}
	default:
		a.WriteHeader(http.StatusNotFound)
		body = map[string]string{"message": "NOT_FOUND"}
	}
	_ = json.NewEncoder(a).Encode(body) // into memory
	return a.response(r), nil
}

// topicStats returns the topics of /stats: one, or none if it does not exist. The caller holds s.mu.
func (s *Server) topicStats(name string) []map[string]any {
	t := s.topics[name]
	if t == nil {
		return []map[string]any{}
	}
	channels := []map[string]any{}
	for _, name := range names(t.channels) {
		st := s.stats(t.name, name)
		channels = append(channels, map[string]any{
			"channel_name": name, "depth": st.Depth, "in_flight_count": st.InFlight, "deferred_count": st.Deferred,
		})
	}
	return []map[string]any{{"topic_name": t.name, "depth": len(t.waiting), "channels": channels}}
}
