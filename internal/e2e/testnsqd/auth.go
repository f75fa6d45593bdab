package testnsqd

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/nsqio/nsq/nsqd"
)

// AuthMode is how an AuthServer answers.
type AuthMode int

// The modes of an AuthServer. AuthOK is the zero value.
const (
	AuthOK         AuthMode = iota // may publish and subscribe everywhere
	AuthForbidden                  // 403
	AuthError                      // 500
	AuthSlow                       // no answer until nsqd gives up or the test ends
	AuthGarbage                    // 200 without JSON
	AuthEmpty                      // no permissions
	AuthOtherTopic                 // all permissions, for the topic "other" only
)

// AuthServer answers nsqd's requests about the secrets of clients. It is safe for concurrent use.
type AuthServer struct {
	srv  *httptest.Server
	stop chan struct{} // closed when the test ends

	mu      sync.Mutex
	mode    AuthMode
	ttl     int
	secrets []string
}

// StartAuth runs an auth server until the test ends, in mode AuthOK and with a TTL of an hour.
// Start it before the nsqds that use it.
func StartAuth(tb testing.TB) *AuthServer {
	a := &AuthServer{ttl: 3600, stop: make(chan struct{})}
	a.srv = httptest.NewServer(a)
	tb.Cleanup(func() {
		close(a.stop)
		a.srv.Close()
	})
	return a
}

// Require is an option for Start: nsqd requires AUTH and asks this server.
func (a *AuthServer) Require(o *nsqd.Options) {
	o.AuthHTTPAddresses = []string{a.srv.URL + "/auth"}
}

// SetMode sets the mode of all answers from now on.
func (a *AuthServer) SetMode(m AuthMode) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mode = m
}

// SetTTL sets after how many seconds nsqd asks again about a connected client. nsqd treats 0 as an
// error.
func (a *AuthServer) SetTTL(seconds int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ttl = seconds
}

// Secrets returns the secrets that nsqd has asked about, in order, whatever the answer.
func (a *AuthServer) Secrets() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.secrets)
}

// ServeHTTP answers nsqd.
func (a *AuthServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.secrets = append(a.secrets, r.URL.Query().Get("secret"))
	mode, ttl := a.mode, a.ttl
	a.mu.Unlock()

	const all = `{"topic":%q,"channels":[".*"],"permissions":["subscribe","publish"]}`
	var authorizations string
	switch mode {
	case AuthOK:
		authorizations = fmt.Sprintf(all, ".*")
	case AuthOtherTopic:
		authorizations = fmt.Sprintf(all, "^other$")
	case AuthEmpty:
	case AuthForbidden:
		// nsqd reads from the body a port for a retry over HTTPS.
		http.Error(w, `{"message":"forbidden"}`, http.StatusForbidden)
		return
	case AuthError:
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	case AuthGarbage:
		fmt.Fprint(w, "<html>welcome</html>")
		return
	case AuthSlow:
		select {
		case <-r.Context().Done():
		case <-a.stop:
		}
		return
	}
	fmt.Fprintf(w, `{"ttl":%d,"identity":"test","authorizations":[%s]}`, ttl, authorizations)
}
