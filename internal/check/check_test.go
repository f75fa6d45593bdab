package check_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

// recorder is a TB that keeps the errors.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestWant(t *testing.T) {
	errA, errB := errors.New("a"), errors.New("b")
	for name, tt := range map[string]struct {
		do   func(tb testing.TB)
		want string
	}{
		"equal":           {func(tb testing.TB) { check.Want(tb, "n", 1, 1) }, ""},
		"not equal":       {func(tb testing.TB) { check.Want(tb, "n", 1, 2) }, "n: got 1, want 2"},
		"error":           {func(tb testing.TB) { check.WantErr(tb, "f", errA, errA) }, ""},
		"wrapped error":   {func(tb testing.TB) { check.WantErr(tb, "f", fmt.Errorf("x: %w", errA), errA) }, ""},
		"no error":        {func(tb testing.TB) { check.WantErr(tb, "f", nil, nil) }, ""},
		"another error":   {func(tb testing.TB) { check.WantErr(tb, "f", errA, errB) }, "f: got error a, want b"},
		"missing error":   {func(tb testing.TB) { check.WantErr(tb, "f", nil, errB) }, "f: got error <nil>, want b"},
		"unwanted error":  {func(tb testing.TB) { check.WantErr(tb, "f", errA, nil) }, "f: got error a, want <nil>"},
		"error in a join": {func(tb testing.TB) { check.WantErr(tb, "f", errors.Join(errB, errA), errA) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{TB: t}
			tt.do(r)
			if got := strings.Join(r.errors, "; "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBubble(t *testing.T) {
	ran := ""
	check.Bubble(t, "sub", func(t *testing.T) {
		start := time.Now()
		time.Sleep(time.Hour)
		check.Want(t, "slept", time.Since(start), time.Hour)
		ran = t.Name()
	})
	check.Want(t, "name", ran, "TestBubble/sub")
}

func TestSynced(t *testing.T) {
	var list check.Synced[int]
	var adding sync.WaitGroup
	for i := range 100 {
		adding.Go(func() { list.Add(2*i, 2*i+1) })
	}
	adding.Wait()
	all := list.All()
	check.Want(t, "length", list.Len(), 200)
	slices.Sort(all)
	for i, n := range all {
		check.Want(t, "element", n, i)
	}
	all[0] = -1
	check.Want(t, "changed through a copy", slices.Contains(list.All(), -1), false)
}

// TestAllocated: what another goroutine allocates once does not count, what f allocates does.
func TestAllocated(t *testing.T) {
	const size = 1 << 20
	var kept []byte
	calls := 0
	got := check.Allocated(size/2, func() {
		if calls++; calls == 1 {
			kept = make([]byte, size)
		}
	})
	if got > size/2 || calls != 2 {
		t.Errorf("%d bytes after %d calls", got, calls)
	}
	got = check.Allocated(size/2, func() { kept = make([]byte, size) })
	if got < size || len(kept) != size {
		t.Errorf("%d bytes, want at least %d", got, size)
	}
}
