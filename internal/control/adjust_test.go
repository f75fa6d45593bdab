package control

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
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

// settleQuotas adjusts quotas when connections have yielded what they had to.
func (s *service) settleQuotas() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
	s.adjust(false)
}

// TestLimit: how many messages may be in flight, with four workers and one connection
// with max-rdy-count 2500 unless the case says otherwise.
func TestLimit(t *testing.T) {
	type limit struct {
		fixed       int
		fixedRDY    bool
		service     time.Duration // 0: unknown
		rtt         time.Duration
		timeout     int // of messages, in milliseconds
		conns, most int // connections, and their max-rdy-count
		size        int // of messages
		restrained  bool
		stuck       int

		want int
	}
	const concurrency, maxBytes = 4, 1000
	for name, tt := range map[string]limit{
		"service time unknown":  {want: 4},
		"10 ms":                 {service: 10 * ms, want: 4 + 40}, // what workers do in 100 ms
		"10 ms, near":           {service: 10 * ms, rtt: ms, want: 4 + 40},
		"10 ms, far away":       {service: 10 * ms, rtt: 200 * ms, want: 4 + 160},
		"10 ms, farther":        {service: 10 * ms, rtt: 400 * ms, want: 4 * (1 + 50)},
		"200 ms":                {service: 200 * ms, want: 4 + 2},
		"200 ms, far away":      {service: 200 * ms, rtt: 400 * ms, want: 4 * (1 + 2)},
		"500 ms":                {service: 500 * ms, want: 4 + 1},
		"more than 500 ms":      {service: 500*ms + 1, want: 4}, // the second one might wait for a second
		"1 h":                   {service: time.Hour, want: 4},
		"1 µs":                  {service: time.Microsecond, want: 2500},
		"short message timeout": {service: 10 * ms, timeout: 400, want: 4 * (1 + 5)},
		"max-rdy-count":         {service: time.Microsecond, most: 50, want: 50},
		"small max-rdy-count":   {most: 3, want: 3},
		"6 connections":         {conns: 6, want: 4}, // they take turns
		"2 connections":         {conns: 2, want: 4},
		"50 connections":        {service: 10 * ms, conns: 50, want: 4 + 49}, // workers are busy if one brings all messages
		"50 connections, low":   {service: 10 * ms, conns: 50, most: 40, want: 40},
		"no connections":        {conns: -1, want: 0},
		"large":                 {service: 10 * ms, size: 100, want: 10},
		"small":                 {service: 10 * ms, size: 10, want: 44},
		"larger than all":       {size: 10 * maxBytes, want: 1},

		"fixed, service time unknown": {fixed: 100, want: 4},
		"fixed, 10 ms":                {fixed: 100, service: 10 * ms, want: 100},
		"fixed, as 10 ms":             {fixed: 204, service: 10 * ms, want: 204},
		"fixed, above 10 ms":          {fixed: 205, service: 10 * ms, want: 204},
		"fixed, 1 h":                  {fixed: 100, service: time.Hour, want: 4},
		"fixed, low":                  {fixed: 2, service: 10 * ms, want: 2},
		"fixed, low, unknown":         {fixed: 2, want: 2},
		"fixed, max-rdy-count":        {fixed: 100, service: 10 * ms, most: 10, want: 100}, // two connections may take it
		"fixed, 6 connections":        {fixed: 2, service: 10 * ms, conns: 6, want: 2},
		"fixed, no connections":       {fixed: 100, service: 10 * ms, conns: -1, want: 100},
		"fixed, large":                {fixed: 100, service: 10 * ms, size: 100, want: 10},

		"FixedRDY":                     {fixed: 100, fixedRDY: true, want: 100},
		"FixedRDY, 1 h":                {fixed: 300, fixedRDY: true, service: time.Hour, want: 300},
		"FixedRDY, large":              {fixed: 100, fixedRDY: true, size: 100, want: 10},
		"FixedRDY, stuck":              {fixed: 100, fixedRDY: true, stuck: 3, want: 97},
		"FixedRDY, low, stuck":         {fixed: 2, fixedRDY: true, stuck: 3, want: 0},
		"FixedRDY, all stuck":          {fixed: 100, fixedRDY: true, stuck: 4, want: 0},
		"FixedRDY, restrained":         {fixed: 100, fixedRDY: true, service: 10 * ms, restrained: true, want: 4},
		"FixedRDY, restrained, stuck":  {fixed: 100, fixedRDY: true, service: 10 * ms, restrained: true, stuck: 1, want: 3},
		"FixedRDY, restrained, low":    {fixed: 2, fixedRDY: true, restrained: true, want: 2},
		"FixedRDY, automatic":          {fixedRDY: true, service: 10 * ms, want: 44},
		"FixedRDY, automatic, unknown": {fixedRDY: true, want: 4},
		"restrained":                   {service: 10 * ms, restrained: true, want: 4},
		"restrained, 6 connections":    {service: 10 * ms, restrained: true, conns: 6, want: 4},
		"restrained, fixed":            {fixed: 100, service: 10 * ms, restrained: true, want: 4},
		"restrained, fixed, low":       {fixed: 2, service: 10 * ms, restrained: true, want: 2},
		"restrained, stuck":            {fixed: 100, service: 10 * ms, restrained: true, stuck: 3, want: 1},
		"stuck":                        {service: 10 * ms, stuck: 3, want: 1 + 10},
		"stuck, service time unknown":  {stuck: 3, want: 1},
		"stuck, fixed":                 {fixed: 100, service: 10 * ms, stuck: 3, want: 1 + 50},
		"stuck, fixed, low":            {fixed: 2, service: 10 * ms, stuck: 3, want: 2},
		"all stuck":                    {service: 10 * ms, stuck: 4, want: 0},
		"all stuck, fixed":             {fixed: 100, service: 10 * ms, stuck: 4, want: 0},
		"more stuck than workers":      {fixed: 100, service: 10 * ms, stuck: 9, want: 0}, // after SetConcurrency
		"all stuck, 6 connections":     {service: 10 * ms, stuck: 4, conns: 6, want: 0},
		"restrained, fixed, stuck":     {fixed: 3, restrained: true, stuck: 2, want: 2},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newService(t, Config{
				Concurrency: concurrency, MaxInFlight: tt.fixed, FixedRDY: tt.fixedRDY, MaxInFlightBytes: maxBytes,
			}, takes(0))
			s.identify = map[string]any{}
			if tt.most > 0 {
				s.identify["max_rdy_count"] = tt.most
			}
			if tt.timeout > 0 {
				s.identify["msg_timeout"] = tt.timeout
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
				s.Control.service.Add(10_000*tt.service, 10_000)
			}
			s.size.Add(10, uint64(10*tt.size))
			s.stuck = tt.stuck
			s.locked(func() { check.Want(t, "limit", s.limit(conns, loads, tt.restrained, 0), tt.want) })
		})
	}
}

// TestPatience: a message may wait for a second, or for a quarter of the shortest message timeout.
func TestPatience(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{}, takes(0))
		check.Want(t, "without connections", patience(nil), time.Second)
		var conns []*conn.Conn
		for _, tt := range []struct {
			timeout int // in milliseconds
			want    time.Duration
		}{{60000, time.Second}, {4000, time.Second}, {2000, 500 * ms}, {3000, 500 * ms}, {400, 100 * ms}} {
			s.identify = map[string]any{"msg_timeout": tt.timeout}
			conns = append(conns, s.dial("nsqd-"+strconv.Itoa(tt.timeout)+":4150").conn)
			check.Want(t, "with a timeout of "+strconv.Itoa(tt.timeout)+" ms", patience(conns), tt.want)
		}
	})
}

// TestAdjust: quotas follow what may be in flight, and are 0 while there must be nothing more.
func TestAdjust(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10}, takes(0))
		s.Control.service.Add(10*10*ms, 10)
		s.Start()
		lines := []*line{s.dial(nsqd1), s.dial(nsqd2)}
		wantQuotas(t, "before", lines, 0, 0)
		s.adjust(false)
		wantQuotas(t, "even", lines, 5, 5)

		s.locked(func() {
			s.stalled = true
			s.restraint.gaveBack(time.Now())
		})
		s.adjust(false)
		wantQuotas(t, "stalled", lines, 0, 0)
		check.Want(t, "max in flight, stalled", s.State().MaxInFlight, 1)
		s.locked(func() { s.stalled = false })
		s.settleQuotas()
		check.Want(t, "quotas, restrained", quotaSum(lines), 1)
		s.locked(func() { s.restraint = restraint{} })
		s.settleQuotas()
		wantQuotas(t, "no longer stalled", lines, 5, 5)

		s.shutGate()
		wantQuotas(t, "paused, at once", lines, 0, 0)
		s.adjust(false)
		wantQuotas(t, "paused", lines, 0, 0)
		check.Want(t, "max in flight, paused", s.State().MaxInFlight, 0)
		s.openGate()
		wantQuotas(t, "resumed, until Run is awake", lines, 0, 0)
		s.settleQuotas()
		wantQuotas(t, "resumed", lines, 5, 5)
		check.Want(t, "max in flight, resumed", s.State().MaxInFlight, 10)

		lines[0].end()
		s.adjust(false)
		wantQuotas(t, "one has ended", lines[1:], 10)
	})
}

// TestAdjustOverCapacity: no quota until half of the capacity is free.
func TestAdjustOverCapacity(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 2, FixedRDY: true}, handle)
		s.Start()
		l := s.dial(nsqd1)
		s.adjust(false)
		l.flood(1, 1)
		synctest.Wait()
		l.flood(2, 6) // 2*2+1 fit
		synctest.Wait()
		check.Want(t, "quota at the overflow", l.quota(), 0)
		s.adjust(true)
		check.Want(t, "quota over capacity", l.quota(), 0)
		s.pool.Shed(3)
		s.adjust(true)
		check.Want(t, "quota with 3 of 5", l.quota(), 0)
		s.pool.Shed(2)
		s.adjust(true)
		check.Want(t, "quota with 2 of 5", l.quota(), 2)
		release()
	})
}

// TestYielding: while a connection may use more than its quota, another one gets no more.
func TestYielding(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 10, Concurrency: 10}, handle)
		s.Start()
		first := s.dial(nsqd1)
		s.adjust(true)
		check.Want(t, "quota of the only one", first.quota(), 10)
		check.Want(t, "yielding", s.Control.yielding, false)
		first.flood(1, 10)
		synctest.Wait()
		second := s.dial(nsqd2)
		lines := []*line{first, second}
		s.adjust(true)
		check.Want(t, "yielding with 10 in flight", s.Control.yielding, true)
		check.Want(t, "settled", s.settled(), false)
		wantQuotas(t, "with 10 in flight", lines, 9, 0)
		s.awake()
		synctest.Wait()
		check.Want(t, "woken before it has yielded", s.awake(), false)
		release()
		synctest.Wait()
		check.Want(t, "woken when it has yielded", s.awake(), true)
		for range 10 { // ticks: the demand of the first fades
			s.settleQuotas()
			s.adjust(true)
		}
		check.Want(t, "yielding at last", s.Control.yielding, false)
		wantQuotas(t, "at last", lines, 5, 5)
	})
}
