package pool

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
)

// TestDequeModel compares random operations with a list, through growth and wrapping around.
func TestDequeModel(t *testing.T) {
	src := newSource()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		d := newDeque()
		var model []int // numbers, oldest first
		sizes := make(map[int]int)
		next := 1
		messages := func() run {
			msgs := src.messages(next, 1+r.IntN(5))
			for i := range msgs {
				msgs[i].Body = make([]byte, r.IntN(50))
				sizes[next+i] = len(msgs[i].Body)
			}
			next += len(msgs)
			return msgs
		}
		for range 500 {
			switch r.IntN(4) {
			case 0, 1:
				msgs := messages()
				d.pushBack(msgs)
				model = append(model, numbers(pointers(msgs))...)
			case 2:
				if len(model) == 0 {
					break
				}
				most := 1 + r.IntN(7)
				out := numbers(pointers(d.popFront(most)))
				if len(out) == 0 || len(out) > most || !slices.Equal(out, model[:len(out)]) {
					t.Fatalf("seed %d: popFront(%d) returned %v of %v", seed, most, out, model)
				}
				model = model[len(out):]
			case 3:
				if len(model) == 0 {
					break
				}
				last := len(model) - 1
				if n := int(d.popBack().Attempts); n != model[last] {
					t.Fatalf("seed %d: popBack returned %d of %v", seed, n, model)
				}
				model = model[:last]
			}
			bytes := 0
			for _, n := range model {
				bytes += sizes[n]
			}
			if d.n != len(model) || d.bytes != bytes {
				t.Fatalf("seed %d: %d messages of %d bytes, want %d of %d", seed, d.n, d.bytes, len(model), bytes)
			}
			if m := d.oldest(); (m == nil) != (len(model) == 0) || m != nil && int(m.Attempts) != model[0] {
				t.Fatalf("seed %d: the oldest is %v, want the first of %v", seed, m, model)
			}
			if d.used > len(d.runs) || len(d.runs)&(len(d.runs)-1) != 0 {
				t.Fatalf("seed %d: %d of %d runs are used", seed, d.used, len(d.runs))
			}
		}
	}
}

// TestDequeRuns: popFront returns messages of one run, in which an append cannot reach the rest.
func TestDequeRuns(t *testing.T) {
	src, d := newSource(), newDeque()
	d.pushBack(src.messages(0, 5))
	d.pushBack(src.messages(5, 2))
	out := d.popFront(2)
	wantNumbers(t, "the first two", pointers(out), 0, 1)
	check.Want(t, "capacity of the first two", cap(out), 2)
	wantNumbers(t, "the rest of the run", pointers(d.popFront(math.MaxInt)), 2, 3, 4)
	wantNumbers(t, "the next run", pointers(d.popFront(math.MaxInt)), 5, 6)
	check.Want(t, "messages", d.n, 0)
	check.Want(t, "runs", d.used, 0)
	for i := range d.runs {
		if d.runs[i] != nil {
			t.Errorf("an empty deque keeps run %d alive", i)
		}
	}
}

// TestDequeAdd: messages are added while both capacities allow; a single one always fits.
func TestDequeAdd(t *testing.T) {
	for _, tt := range []struct {
		limit                  capacity
		before, n, size, added int
	}{
		{capacity{10, 1000}, 0, 5, 10, 5},
		{capacity{3, 1000}, 0, 5, 10, 3},
		{capacity{10, 35}, 0, 5, 10, 3},
		{capacity{10, 40}, 0, 5, 10, 4},
		{capacity{10, 35}, 1, 5, 10, 2},
		{capacity{10, 5}, 0, 5, 10, 1}, // larger than the capacity
		{capacity{10, 5}, 1, 5, 10, 0},
		{capacity{10, 0}, 0, 5, 0, 5}, // empty bodies
		{capacity{0, 1000}, 0, 5, 10, 0},
		{capacity{3, 1000}, 4, 1, 10, 0}, // lowered since
		{capacity{3, 1000}, 0, 0, 10, 0},
	} {
		src, d := newSource(), newDeque()
		if tt.before > 0 {
			d.pushBack(src.bodies(tt.before, tt.size))
		}
		msgs := src.bodies(tt.n, tt.size)
		rest := d.add(msgs, tt.limit)
		wantNumbers(t, "rest", pointers(rest), series(tt.added, tt.n-1)...)
		if d.n != tt.before+tt.added || d.bytes != (tt.before+tt.added)*tt.size {
			t.Errorf("%+v: %d messages of %d bytes", tt, d.n, d.bytes)
		}
	}
}
