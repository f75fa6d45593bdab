package conn_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/pipe"
)

// beat is the default heartbeat interval.
const beat = 30 * time.Second

// stream is a served connection in a bubble; the test plays nsqd.
type stream struct {
	*conn.Conn
	t     *testing.T
	p     *fake.Peer
	tap   *streamTap
	sink  *streamSink
	start time.Time     // by the bubble's clock, at the end of the handshake
	ended chan struct{} // closed when Serve has returned
	err   error         // result of Serve
	at    time.Duration // when Serve returned, since start
}

// streamOptions configure a stream. The zero value is a plain subscribed connection to an nsqd with
// default settings.
type streamOptions struct {
	cfg      conn.Config
	identify map[string]any
	sub      *conn.Subscription            // defaults to orders
	publish  bool                          // no subscription
	upgrade  func(p *fake.Peer)            // between IDENTIFY and SUB
	server   func(net.Conn) net.Conn       // wraps nsqd's end
	deliver  func(msgs []handler.Delivery) // replaces collecting
	work     work                          // of the sink; nil: it does not work
	chunk    int                           // most bytes a read returns
	idle     bool                          // do not call Serve
}

func openStream(t *testing.T, o streamOptions) *stream {
	t.Helper()
	client, server := pipe.New()
	s := &stream{t: t, tap: &streamTap{Conn: client, chunk: o.chunk}, sink: &streamSink{deliver: o.deliver, work: o.work}, ended: make(chan struct{})}
	var nc net.Conn = server
	if o.server != nil {
		nc = o.server(nc)
	}
	s.p = fake.NewPeer(t, nc)
	sub := cmp.Or(o.sub, orders)
	if o.publish {
		sub = nil
	}
	shaken := make(chan struct{})
	go func() {
		defer close(shaken)
		s.p.Identify(o.identify)
		if o.upgrade != nil {
			o.upgrade(s.p)
		}
		if sub != nil {
			s.p.Expect("SUB")
			s.p.Response("OK")
		}
	}()
	o.cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return s.tap, nil }
	c, err := conn.Dial(t.Context(), address, o.cfg, sub)
	<-shaken
	if err != nil {
		t.Fatal(err)
	}
	s.Conn, s.start = c, time.Now()
	s.tap.forget()
	t.Cleanup(s.stop)
	if o.idle {
		close(s.ended)
	} else {
		go s.serve()
		if o.publish && o.cfg.TLS == nil {
			s.p.Expect("NOP")
			s.tap.forget()
		}
	}
	return s
}

func (s *stream) serve() {
	returned := false
	defer func() { // also after Goexit
		if !returned {
			s.err = s.Err()
		}
		s.at = time.Since(s.start)
		close(s.ended)
	}()
	if s.sink.work != nil {
		s.err = s.Serve(worker{s.sink})
	} else {
		s.err = s.Serve(s.sink)
	}
	returned = true
}

func (s *stream) stop() {
	s.Abort(nil)
	s.p.Close()
	<-s.ended
}

// wait returns the result of Serve.
func (s *stream) wait() error {
	<-s.ended
	return s.err
}

// failed checks that Serve returned an *Error of the given phase after the given time, and returns
// the error.
func (s *stream) failed(phase conn.Phase, after time.Duration) *conn.Error {
	s.t.Helper()
	failure := s.broken(phase)
	if s.at != after {
		s.t.Errorf("it ended after %v, want %v", s.at, after)
	}
	return failure
}

// broken is failed without a check of the time.
func (s *stream) broken(phase conn.Phase) *conn.Error {
	s.t.Helper()
	failure, ok := s.wait().(*conn.Error)
	if !ok {
		s.t.Fatalf("Serve returned %T %v, want *conn.Error", s.err, s.err)
	}
	if failure.Addr != address || failure.Phase != phase {
		s.t.Errorf("Serve returned %v (address %s, phase %s); want phase %s", failure, failure.Addr, failure.Phase, phase)
	}
	return failure
}

// sent returns the commands written since the last call. It uses a heartbeat to find their end.
func (s *stream) sent() string {
	synctest.Wait()
	s.p.Heartbeat()
	var sent []string
	for {
		cmd, err := s.p.Next()
		if err != nil || cmd.Name == "NOP" {
			return strings.Join(sent, ", ")
		}
		sent = append(sent, cmd.String())
	}
}

func (s *stream) wantSent(want string) {
	s.t.Helper()
	if got := s.sent(); got != want {
		s.t.Errorf("sent %q, want %q", got, want)
	}
}

// message sends a message and returns the delivery.
func (s *stream) message(n uint64) *handler.Delivery {
	s.t.Helper()
	s.p.Message(fake.ID(n), 1, fmt.Appendf(nil, "body %d", n))
	synctest.Wait()
	return s.last()
}

func (s *stream) last() *handler.Delivery {
	s.t.Helper()
	all := s.sink.messages()
	if len(all) == 0 {
		s.t.Fatal("no message was delivered")
	}
	return all[len(all)-1]
}

// alive checks that the connection still answers.
func (s *stream) alive() {
	s.t.Helper()
	synctest.Wait()
	select {
	case <-s.ended:
		s.t.Fatalf("it has ended: %v", s.err)
	default:
	}
	s.p.Heartbeat()
	s.p.Expect("NOP")
}

// wantWritten checks the bytes of each write since the last call.
func (s *stream) wantWritten(want ...string) {
	s.t.Helper()
	synctest.Wait()
	if got := s.tap.written(); !slices.Equal(got, want) {
		s.t.Errorf("wrote %q, want %q", got, want)
	}
}

// deliver sends messages in one write and returns the deliveries.
func (s *stream) deliver(first uint64, n int) []*handler.Delivery {
	s.t.Helper()
	before := len(s.sink.messages())
	var frames []byte
	for i := range uint64(n) {
		frames = append(frames, fake.Message(time.Now().UnixNano(), fake.ID(first+i), 1, []byte("x"))...)
	}
	s.p.Raw(frames)
	synctest.Wait()
	msgs := s.sink.messages()[before:]
	if len(msgs) != n {
		s.t.Fatalf("%d messages have come, want %d", len(msgs), n)
	}
	return msgs
}

// heard reads everything that the connection writes in another goroutine.
func (s *stream) heard() (commands func() []string) {
	var all []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			cmd, err := s.p.Next()
			if err != nil {
				s.p.Close() // as nsqd does
				return
			}
			all = append(all, cmd.String())
		}
	}()
	return func() []string {
		<-ended
		return all
	}
}

// blockedStream returns a stream with n messages whose write loop is blocked in the FIN of message
// 0.
func blockedStream(t *testing.T, n int, o streamOptions) (s *stream, msgs []*handler.Delivery, open func()) {
	t.Helper()
	s = openStream(t, o)
	for i := range n {
		s.message(uint64(i))
	}
	synctest.Wait()
	s.tap.forget()
	open = s.tap.holdWrites()
	msgs = s.sink.messages()
	s.Finish(msgs[0])
	synctest.Wait()
	return s, msgs, open
}

func lines(commands ...string) string { return strings.Join(commands, "\n") + "\n" }

// openWindow is openStream with a subscription without FixedRDY.
func openWindow(t *testing.T, quota int) *stream {
	t.Helper()
	client, server := pipe.New()
	s := &stream{t: t, tap: &streamTap{Conn: client}, sink: &streamSink{}, ended: make(chan struct{}), p: fake.NewPeer(t, server)}
	shaken := make(chan struct{})
	go func() {
		defer close(shaken)
		s.p.Subscribe(nil)
	}()
	cfg := conn.Config{DialContext: func(context.Context, string, string) (net.Conn, error) { return s.tap, nil }}
	c, err := conn.Dial(t.Context(), address, cfg, &conn.Subscription{Topic: "orders", Channel: "billing"})
	<-shaken
	if err != nil {
		t.Fatal(err)
	}
	s.Conn, s.start = c, time.Now()
	s.tap.forget()
	t.Cleanup(s.stop)
	go s.serve()
	_ = s.heard() // so that writes never block; the tap records them
	s.SetQuota(quota)
	synctest.Wait()
	return s
}

// rdy returns the last RDY written since the last call, or was.
func (s *stream) rdy(was int) int {
	synctest.Wait()
	for _, line := range strings.Split(strings.Join(s.tap.written(), ""), "\n") {
		if n, ok := strings.CutPrefix(line, "RDY "); ok {
			was, _ = strconv.Atoi(n)
		}
	}
	return was
}

func (s *stream) wantRDY(was, want int) int {
	s.t.Helper()
	got := s.rdy(was)
	if got != want {
		s.t.Errorf("RDY is %d, want %d", got, want)
	}
	if st := s.Stats(); st.RDY != got {
		s.t.Errorf("Stats say that RDY is %d, it is %d", st.RDY, got)
	}
	return got
}

// backlog plays an nsqd with many messages: it sends as many as RDY permits and finishes them.
func (s *stream) backlog(first *uint64, rounds int) (rdy int) {
	s.t.Helper()
	rdy = s.Stats().RDY
	for range rounds {
		msgs := s.deliver(*first, rdy)
		*first += uint64(rdy)
		for _, m := range msgs {
			s.Finish(m)
		}
		rdy = s.rdy(rdy)
	}
	return rdy
}

// layers returns options for all combinations of TLS and compression.
func layers(t *testing.T) map[string]streamOptions {
	a := newAuthority(t)
	server, client := a.server(), a.client()
	compressions := map[conn.Compression]func(*fake.Peer){
		conn.NoCompression: func(*fake.Peer) {},
		conn.Snappy:        (*fake.Peer).UpgradeSnappy,
		conn.Deflate:       (*fake.Peer).UpgradeDeflate,
	}
	all := make(map[string]streamOptions)
	for compression, upgrade := range compressions {
		identify := func(tls bool) map[string]any {
			return map[string]any{"tls_v1": tls, "snappy": compression == conn.Snappy, "deflate": compression == conn.Deflate}
		}
		all[compression.String()] = streamOptions{cfg: conn.Config{Compression: compression}, identify: identify(false), upgrade: upgrade}
		all["tls, "+compression.String()] = streamOptions{
			cfg:      conn.Config{Compression: compression, TLS: client},
			identify: identify(true),
			upgrade: func(p *fake.Peer) {
				if err := p.UpgradeTLS(server); err != nil {
					t.Error(err)
				}
				upgrade(p)
			},
		}
	}
	return all
}

// publish starts a Publish of body and returns the channel of its result.
func (s *stream) publish(ctx context.Context, body string) <-chan error {
	return s.publishTo(ctx, "orders", body)
}

func (s *stream) publishTo(ctx context.Context, topic, body string) <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Publish(ctx, pub(topic, body)) }()
	synctest.Wait()
	return result
}

func pub(topic, body string) *conn.Pub {
	return &conn.Pub{Topic: topic, Bodies: [][]byte{[]byte(body)}}
}

func wantPending(t *testing.T, result <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-result:
		t.Errorf("Publish returned %v, want it to wait", err)
	default:
	}
}

// wantResult checks that Publish returned nil, an error, or a ServerError with a code.
func wantResult(t *testing.T, result <-chan error, want any) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-result:
		switch want := want.(type) {
		case nil:
			if err != nil {
				t.Errorf("Publish returned %v", err)
			}
		case error:
			wantIs(t, err, want)
		case string:
			if e, ok := errors.AsType[*conn.ServerError](err); !ok || e.Code != want {
				t.Errorf("Publish returned %v, want %s", err, want)
			}
		}
	default:
		t.Error("Publish has not returned")
	}
}

// send starts a Publish of p and returns the channel of its result.
func (s *stream) send(ctx context.Context, p *conn.Pub) <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Publish(ctx, p) }()
	synctest.Wait()
	return result
}

// bodies returns the messages of a PUB, DPUB or MPUB.
func bodies(cmd fake.Command) []string {
	if cmd.Name != "MPUB" {
		return []string{string(cmd.Body)}
	}
	b, all := cmd.Body[4:], []string(nil)
	for range binary.BigEndian.Uint32(cmd.Body) {
		n := binary.BigEndian.Uint32(b)
		all, b = append(all, string(b[4:4+n])), b[4+n:]
	}
	return all
}

// published returns the commands since the last call, with the first bytes of their messages.
func (s *stream) published() (all []string) {
	synctest.Wait()
	s.p.Heartbeat()
	for {
		cmd, err := s.p.Next()
		if err != nil || cmd.Name == "NOP" {
			return all
		}
		text := cmd.String()
		for _, body := range bodies(cmd) {
			text += " " + body[:min(len(body), 8)]
		}
		all = append(all, text)
	}
}

func (s *stream) wantPublished(want ...string) {
	s.t.Helper()
	if got := s.published(); !slices.Equal(got, want) {
		s.t.Errorf("heard %q, want %q", got, want)
	}
}

func publishing(t *testing.T, cfg conn.Config) *stream {
	t.Helper()
	return openStream(t, streamOptions{publish: true, cfg: cfg})
}

var kinds = []error{conn.ErrRejected, conn.ErrNotSent, conn.ErrUnconfirmed}

// wantKind checks that an error is of exactly one kind and names the topic and the nsqd.
func wantKind(t *testing.T, err, want error) {
	t.Helper()
	for _, kind := range kinds {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("error is %v, want that it is %v and nothing else", err, want)
		}
	}
	e, ok := err.(*conn.PublishError)
	if !ok || e.Kind != want || e.Topic == "" || e.NSQD != address || e.Err == nil || !strings.HasPrefix(err.Error(), want.Error()+": to ") {
		t.Errorf("error is %T %v, want a *PublishError with all it has", err, err)
	}
}
