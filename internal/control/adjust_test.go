package control

import (
	"math"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
)

func wantQuotas(t *testing.T, what string, lines []*line, want ...int) {
	t.Helper()
	var got []int
	for _, l := range lines {
		got = append(got, l.quota())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: quotas %v, want %v", what, got, want)
	}
}

// TestTakeTurns: the turn moves on at a tick, once all of the quotas of this turn are set.
func TestTakeTurns(t *testing.T) {
	for name, tt := range map[string]struct {
		tick   bool
		total  int
		quotas []int
		turn   int
		want   int
	}{
		"next":                     {true, 2, []int{1, 1, 0, 0, 0}, 0, 2},
		"next but one":             {true, 2, []int{0, 0, 1, 1, 0}, 2, 4},
		"wraps around":             {true, 2, []int{1, 0, 0, 0, 1}, 4, 1},
		"one of two":               {true, 1, []int{0, 1}, 1, 0},
		"between ticks":            {false, 2, []int{1, 1, 0, 0, 0}, 0, 0},
		"not all are set":          {true, 2, []int{1, 0, 0, 0, 0}, 0, 0},
		"one connection has two":   {true, 2, []int{2, 0, 0, 0, 0}, 0, 0},
		"as many as connections":   {true, 2, []int{1, 1}, 0, 0},
		"more than connections":    {true, 9, []int{5, 4}, 0, 0},
		"no connections":           {true, 0, nil, 0, 0},
		"nothing may be in flight": {true, 0, []int{0, 0}, 1, 1},
		"more than before":         {true, 2, []int{1, 1, 1, 0}, 0, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, Config{}, takes(0))
			var loads []conn.Load
			for _, n := range tt.quotas {
				loads = append(loads, conn.Load{Quota: n})
			}
			s.total, s.turn = tt.total, tt.turn
			s.locked(func() { s.takeTurns(tt.tick, loads) })
			want(t, name, s.turn, tt.want)
		})
	}
}

// TestTurns: with more connections than messages in flight each has its turn, and only at ticks.
func TestTurns(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 2}, takes(0))
		s.Start()
		var lines []*line
		for i := range 5 {
			lines = append(lines, s.dial("nsqd-"+strconv.Itoa(i)+":4150"))
		}
		s.adjust(true)
		wantQuotas(t, "first turn", lines, 1, 1, 0, 0, 0)
		s.adjust(false)
		wantQuotas(t, "between ticks", lines, 1, 1, 0, 0, 0)
		for _, after := range [][]int{{0, 0, 1, 1, 0}, {1, 0, 0, 0, 1}, {0, 1, 1, 0, 0}} {
			s.adjust(true)
			for s.settleQuotas(); s.Control.yielding; s.settleQuotas() {
			}
			wantQuotas(t, "next turn", lines, after...)
		}
	})
}

// settleQuotas adjusts quotas when connections have yielded what they had to.
func (s *service) settleQuotas() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
	s.adjust(false)
}

// TestLimit: how many messages may be in flight, of one connection with max-rdy-count 2500 unless the
// case says otherwise.
func TestLimit(t *testing.T) {
	type limit struct {
		fixed        int
		service      time.Duration // 0: unknown
		rtt          time.Duration
		conns, most  int // connections, and their max-rdy-count
		free         bool
		size         int // of messages
		conservative bool
		stalled      bool
		timedOut     int

		want             int
		stayConservative bool
	}
	const concurrency, maxBytes = 4, 1000
	for name, tt := range map[string]limit{
		"service time unknown":   {want: 4},
		"10 ms":                  {service: 10 * ms, want: 4 + 40},
		"10 ms, far away":        {service: 10 * ms, rtt: 200 * ms, want: 4 + 160},
		"10 ms, near":            {service: 10 * ms, rtt: ms, want: 4 + 40},
		"1 h":                    {service: time.Hour, want: 4},
		"1 µs":                   {service: time.Microsecond, want: 2500},
		"max-rdy-count":          {service: time.Microsecond, most: 50, want: 50},
		"small max-rdy-count":    {most: 3, want: 3},
		"busy, 6 connections":    {conns: 6, want: 4},
		"free, 6 connections":    {conns: 6, free: true, want: 6},
		"free, 2 connections":    {conns: 2, free: true, want: 4},
		"no connections":         {conns: -1, want: 0},
		"large":                  {service: 10 * ms, size: 100, want: 10},
		"small":                  {service: 10 * ms, size: 10, want: 44},
		"larger than all":        {size: 10 * maxBytes, want: 1},
		"fixed":                  {fixed: 100, want: 100},
		"fixed, 10 ms":           {fixed: 100, service: 10 * ms, want: 100},
		"fixed, low":             {fixed: 2, service: 10 * ms, want: 2},
		"fixed, max-rdy-count":   {fixed: 100, most: 10, want: 100}, // two connections may take it
		"fixed, 6 connections":   {fixed: 2, conns: 6, free: true, want: 2},
		"fixed, no connections":  {fixed: 100, conns: -1, want: 100},
		"fixed, large":           {fixed: 100, size: 100, want: 10},
		"conservative":           {fixed: 100, conservative: true, want: 4, stayConservative: true},
		"conservative, 10 ms":    {fixed: 100, service: 10 * ms, conservative: true, want: 44, stayConservative: true},
		"conservative, free":     {fixed: 100, conns: 6, free: true, conservative: true, want: 6, stayConservative: true},
		"quick enough again":     {fixed: 100, service: ms, conservative: true, want: 100},
		"quick enough for 44":    {fixed: 44, service: 10 * ms, conservative: true, want: 44},
		"not quick enough":       {fixed: 45, service: 10 * ms, conservative: true, want: 44, stayConservative: true},
		"as quick as nsqd":       {fixed: 100, service: 10 * ms, most: 44, conservative: true, want: 100},
		"automatic ignores it":   {service: 10 * ms, conservative: true, want: 44, stayConservative: true},
		"stalled":                {service: 10 * ms, stalled: true, want: 4},
		"stalled, fixed":         {fixed: 100, stalled: true, want: 4},
		"stalled, fixed, low":    {fixed: 2, stalled: true, want: 2},
		"timed out":              {fixed: 100, timedOut: 3, want: 97},
		"timed out, automatic":   {service: 10 * ms, timedOut: 3, want: 41},
		"timed out, stalled":     {fixed: 100, stalled: true, timedOut: 3, want: 1},
		"all timed out, stalled": {fixed: 100, stalled: true, timedOut: 4, want: 0},
		"more timed out":         {fixed: 2, timedOut: 4, want: 0},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService(t, Config{Concurrency: concurrency, MaxInFlight: tt.fixed, MaxInFlightBytes: maxBytes}, takes(0))
			if tt.most > 0 {
				s.identify = map[string]any{"max_rdy_count": tt.most}
			}
			var conns []*conn.Conn
			var loads []conn.Load
			for i := range max(tt.conns, 1) {
				if tt.conns >= 0 {
					conns = append(conns, s.dial("nsqd-"+strconv.Itoa(i)+":4150").conn)
					loads = append(loads, conn.Load{RTT: tt.rtt})
				}
			}
			if tt.service > 0 {
				s.Control.service.Add(10*tt.service, 10)
			}
			s.size.Add(10, uint64(10*tt.size))
			s.conservative, s.stalled, s.timedOut = tt.conservative, tt.stalled, tt.timedOut
			s.locked(func() { want(t, "limit", s.limit(conns, loads, tt.free), tt.want) })
			want(t, "conservative", s.conservative, tt.stayConservative)
		})
	}
}

// TestAllowed: what a pause and the breaker allow.
func TestAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{}, takes(0))
		wantAllowed := func(what string, n int) {
			t.Helper()
			s.locked(func() { want(t, what, s.allowed(), n) })
		}
		wantAllowed("without a breaker", math.MaxInt)
		s.Pause()
		wantAllowed("paused", 0)
		s.Resume()
		wantAllowed("resumed", math.MaxInt)

		s = newService(t, Config{Backoff: backoff(), Concurrency: 3}, takes(0))
		wantAllowed("closed", math.MaxInt)
		s.breaker.Record(s.now(), 5, func() uint64 { return 5 })
		wantAllowed("open", 0)
		time.Sleep(time.Second)
		wantAllowed("a probe", 1)
		s.Pause()
		wantAllowed("a probe, paused", 0)
		s.Resume()
		s.Succeeded()
		wantAllowed("after a success", 2)
		s.Succeeded()
		wantAllowed("after one success a handler", math.MaxInt)
	})
}

// TestAdjust: quotas follow what may be in flight, and are 0 while there must be nothing more.
func TestAdjust(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10}, takes(0))
		s.Start()
		lines := []*line{s.dial(nsqd1), s.dial(nsqd2)}
		wantQuotas(t, "before", lines, 0, 0)
		s.adjust(false)
		wantQuotas(t, "even", lines, 5, 5)

		s.locked(func() { s.stalled = true })
		s.adjust(false)
		wantQuotas(t, "stalled", lines, 0, 0)
		want(t, "max in flight, stalled", s.State().MaxInFlight, 1)
		s.locked(func() { s.stalled = false })
		s.settleQuotas()
		wantQuotas(t, "no longer stalled", lines, 5, 5)

		s.Pause()
		wantQuotas(t, "paused, at once", lines, 0, 0)
		s.adjust(false)
		wantQuotas(t, "paused", lines, 0, 0)
		want(t, "max in flight, paused", s.State().MaxInFlight, 0)
		s.Resume()
		wantQuotas(t, "resumed, until Run is awake", lines, 0, 0)
		s.settleQuotas()
		wantQuotas(t, "resumed", lines, 5, 5)
		want(t, "max in flight, resumed", s.State().MaxInFlight, 10)

		lines[0].end()
		s.adjust(false)
		wantQuotas(t, "one has ended", lines[1:], 10)
	})
}

// TestAdjustOverCapacity: no quota until half of the capacity is free.
func TestAdjustOverCapacity(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 2}, handle)
		s.Start()
		l := s.dial(nsqd1)
		s.adjust(false)
		l.flood(1, 1)
		synctest.Wait()
		l.flood(2, 6) // 2*2+1 fit
		synctest.Wait()
		want(t, "quota at the overflow", l.quota(), 0)
		s.adjust(true)
		want(t, "quota over capacity", l.quota(), 0)
		s.pool.Shed(3)
		s.adjust(true)
		want(t, "quota with 3 of 5", l.quota(), 0)
		s.pool.Shed(2)
		s.adjust(true)
		want(t, "quota with 2 of 5", l.quota(), 2)
		release()
	})
}

// TestYielding: while a connection may use more than its quota, another one gets no more.
func TestYielding(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 10, Concurrency: 10}, handle)
		s.Start()
		first := s.dial(nsqd1)
		s.adjust(true)
		want(t, "quota of the only one", first.quota(), 10)
		want(t, "yielding", s.Control.yielding, false)
		first.flood(1, 10)
		synctest.Wait()
		second := s.dial(nsqd2)
		lines := []*line{first, second}
		s.adjust(true)
		want(t, "yielding with 10 in flight", s.Control.yielding, true)
		want(t, "settled", s.settled(), false)
		wantQuotas(t, "with 10 in flight", lines, 9, 0)
		s.awake()
		synctest.Wait()
		want(t, "woken before it has yielded", s.awake(), false)
		release()
		synctest.Wait()
		want(t, "woken when it has yielded", s.awake(), true)
		for range 10 { // ticks: the demand of the first fades
			s.settleQuotas()
			s.adjust(true)
		}
		want(t, "yielding at last", s.Control.yielding, false)
		wantQuotas(t, "at last", lines, 5, 5)
	})
}
