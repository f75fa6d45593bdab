package publish

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
)

// TestSplit: as few pieces as the limit allows, in order. A body takes 4 bytes beside its own, a
// piece 4 more.
func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		sizes []int
		limit int
		want  string // sizes of the pieces
	}{
		{nil, 100, "[[]]"},
		{[]int{1}, 100, "[[1]]"},
		{[]int{200}, 100, "[[200]]"},
		{[]int{44, 44}, 100, "[[44 44]]"},
		{[]int{44, 45}, 100, "[[44] [45]]"},
		{[]int{0, 0, 0}, 16, "[[0 0 0]]"},
		{[]int{0, 0, 0}, 15, "[[0 0] [0]]"},
		{[]int{10, 200, 10, 10}, 100, "[[10] [200] [10 10]]"},
		{[]int{1, 2, 3, 4}, 0, "[[1] [2] [3] [4]]"},
		{[]int{92, 92, 92}, 100, "[[92] [92] [92]]"},
	} {
		var bodies [][]byte
		for _, size := range tt.sizes {
			bodies = append(bodies, make([]byte, size))
		}
		var got [][]int
		for _, piece := range split(bodies, tt.limit) {
			sizes := []int{}
			for _, body := range piece {
				sizes = append(sizes, len(body))
			}
			got = append(got, sizes)
		}
		check.Want(t, fmt.Sprint(tt.sizes, " at ", tt.limit), fmt.Sprint(got), tt.want)
	}
}

// TestTransmit: the commands of one publish, the confirmed ones, and the counters.
func TestTransmit(t *testing.T) {
	small := conn.Config{MaxMessageSize: 20, MaxBodySize: 4 + 2*(4+2)} // two bodies a command
	for name, tt := range map[string]struct {
		cfg       conn.Config
		delay     time.Duration
		bodies    string
		answer    func(n *nsqds)
		want      []string
		kind      error
		confirmed uint64
	}{
		"one":       {conn.Config{}, 0, "m0", nil, []string{"m0"}, nil, 1},
		"delayed":   {conn.Config{}, time.Second, "m0", nil, []string{"m0"}, nil, 1},
		"several":   {conn.Config{}, 0, "m0 m1 m2", nil, []string{"m0 m1 m2"}, nil, 3},
		"split":     {small, 0, "m0 m1 m2 m3 m4", nil, []string{"m0 m1", "m2 m3", "m4"}, nil, 5},
		"none":      {conn.Config{}, 0, "", nil, nil, conn.ErrRejected, 0},
		"too large": {small, 0, "m0 m1 m2 " + strings.Repeat("x", 21), nil, nil, conn.ErrRejected, 0},
		"one too large": {
			small, 0, strings.Repeat("x", 21), nil, nil, conn.ErrRejected, 0,
		},
		"two with a delay": {conn.Config{}, time.Second, "m0 m1", nil, nil, conn.ErrRejected, 0},
		"first fails": {
			small, 0, "m0 m1 m2 m3", func(n *nsqds) { n.answer[addrA] = "cut" }, []string{"m0 m1"}, conn.ErrUnconfirmed, 0,
		},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			if tt.answer != nil {
				tt.answer(n)
			}
			r := n.router(Config{Conn: tt.cfg}, addrA)
			out := message(strings.Fields(tt.bodies)...)
			out.Delay = tt.delay
			wantKind(t, r.Transmit(t.Context(), out), tt.kind)
			var want []string
			for _, command := range tt.want {
				want = append(want, addrA+": "+command)
			}
			n.wantPublished(want...)
			s := r.Stats()
			check.Want(t, "confirmed", s.Confirmed, tt.confirmed)
			check.Want(t, "counted", s.Confirmed+s.Rejected+s.NotSent+s.Unconfirmed, uint64(len(out.Messages)))
			if len(want) > 0 {
				check.Want(t, "NSQD", out.NSQD, addrA)
			}
		})
	}
}

// TestTransmitInPart: the first commands are confirmed, a later one is not, and the rest is not sent.
func TestTransmitInPart(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		r := n.router(Config{Conn: conn.Config{MaxMessageSize: 20, MaxBodySize: 4 + 2*(4+2)}}, addrA)
		ctx, cancel := context.WithCancelCause(t.Context())
		n.set(func() { n.answer[addrA] = "" })
		n.onPublish(func(count int) {
			if count == 2 {
				n.set(func() { n.answer[addrA] = "hang" })
				cancel(errCause)
			}
		})
		err := r.Transmit(ctx, message("m0", "m1", "m2", "m3", "m4", "m5"))
		e := wantKind(t, err, conn.ErrUnconfirmed)
		check.Want(t, "confirmed", e.Confirmed, 2)
		check.WantErr(t, "cause", err, errCause)
		n.wantPublished(addrA+": m0 m1", addrA+": m2 m3")
		s := r.Stats()
		check.Want(t, "counted as confirmed", s.Confirmed, 2)
		check.Want(t, "counted as unconfirmed", s.Unconfirmed, 4)
	})
}

// TestTransmitKeepsNoPayload: the buffers of bodies that are used again are empty, and not large.
func TestTransmitKeepsNoPayload(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		r := n.router(Config{}, addrA)
		for _, messages := range []int{3, keptBodies, keptBodies + 1, 2 * keptBodies} {
			wantKind(t, r.Transmit(t.Context(), message(strings.Fields(strings.Repeat("x ", messages))...)), nil)
			for range 4 { // the pool may lose a buffer, or keep several
				buf, ok := r.buffers.Get().(*[][]byte)
				if !ok {
					break
				}
				all := (*buf)[:cap(*buf)]
				if len(all) > keptBodies {
					t.Errorf("a buffer for %d bodies is kept", len(all))
				}
				for _, body := range all {
					check.Want(t, "payload is kept", body != nil, false)
				}
			}
		}
	})
}
