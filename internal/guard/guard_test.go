package guard

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

var (
	errUser  = errors.New("an error of user code")
	errPanic = errors.New("the value of a panic")
)

func panics() { panic(errPanic) }

// wantPanic checks the PanicError of user code. frame is a function on its stack.
func wantPanic(t *testing.T, err error, value any, frame string) {
	t.Helper()
	p, ok := err.(*handler.PanicError)
	if !ok {
		t.Fatalf("error is %v, want a PanicError", err)
	}
	check.Want(t, "value", p.Value, value)
	if !strings.Contains(string(p.Stack), frame) {
		t.Errorf("the stack has no %s:\n%s", frame, p.Stack)
	}
}

func TestCallAndIsolate(t *testing.T) {
	for name, call := range map[string]func(func()) error{"Call": Call, "Isolate": Isolate} {
		t.Run(name, func(t *testing.T) {
			called := 0
			check.WantErr(t, "error", call(func() { called++ }), nil)
			check.Want(t, "called", called, 1)
			wantPanic(t, call(panics), errPanic, "guard.panics")
			wantPanic(t, call(func() { panic("text") }), "text", "guard_test.go")
			err := call(func() { panic(nil) })
			if _, ok := errors.AsType[*runtime.PanicNilError](err); !ok {
				t.Errorf("error of panic(nil) is %v", err)
			}
			err = call(func() { _ = []int(nil)[called] })
			if _, ok := errors.AsType[runtime.Error](err); !ok {
				t.Errorf("error of an index out of range is %v", err)
			}
		})
	}
}

func TestValueAndIsolateValue(t *testing.T) {
	for name, call := range map[string]func(func() (int, error)) (int, error){"Value": Value[int], "IsolateValue": IsolateValue[int]} {
		t.Run(name, func(t *testing.T) {
			for result, f := range map[int]func() (int, error){
				1: func() (int, error) { return 1, nil },
				2: func() (int, error) { return 2, errUser },
			} {
				v, err := call(f)
				want, wantErr := f()
				check.Want(t, "value", v, want)
				check.Want(t, "value", v, result)
				check.WantErr(t, "error", err, wantErr)
			}
			v, err := call(func() (int, error) { panics(); return 3, nil })
			check.Want(t, "value after a panic", v, 0)
			wantPanic(t, err, errPanic, "guard.panics")
			v, err = call(func() (v int, err error) {
				defer panics() // after the results are set
				return 3, errUser
			})
			check.Want(t, "value after a late panic", v, 0)
			wantPanic(t, err, errPanic, "guard.panics")
		})
	}
}

// TestGoexit: Isolate survives it and reports it; a panic on the way out changes nothing.
func TestGoexit(t *testing.T) {
	for name, f := range map[string]func(){
		"alone":                runtime.Goexit,
		"then a panic":         func() { defer panics(); runtime.Goexit() },
		"in a deferred func":   func() { defer runtime.Goexit() },
		"instead of a panic":   func() { defer runtime.Goexit(); panics() },
		"after a nested Call":  func() { _ = Call(panics); runtime.Goexit() },
		"within a nested Call": func() { _ = Call(runtime.Goexit) },
	} {
		check.Bubble(t, name, func(t *testing.T) {
			wantPanic(t, Isolate(f), ErrGoexit, "guard.Isolate")
			v, err := IsolateValue(func() (int, error) { f(); return 1, nil })
			check.Want(t, "value", v, 0)
			wantPanic(t, err, ErrGoexit, "guard.Isolate")
			check.WantErr(t, "error", err, ErrGoexit)
		})
	}
}

func exits() { runtime.Goexit() }

// TestGoexitStack: the error has the stack of who called Goexit.
func TestGoexitStack(t *testing.T) {
	wantPanic(t, Isolate(exits), ErrGoexit, "guard.exits")
	_, err := Within(t.Context(), new(Room), func() (int, error) { exits(); return 1, nil }, nil)
	wantPanic(t, err, ErrGoexit, "guard.exits")
}

// TestCallLeavesGoexitAlone: Call does not return, and the goroutine ends.
func TestCallLeavesGoexitAlone(t *testing.T) {
	returned, ended := false, make(chan struct{})
	go func() {
		defer close(ended)
		_ = Call(runtime.Goexit)
		returned = true
	}()
	<-ended
	check.Want(t, "returned", returned, false)
}

func indexes(i int) int { return []int{1}[i] }

// TestSite: panics are told apart by the function that panicked.
func TestSite(t *testing.T) {
	for want, f := range map[string]func(){
		"github.com/nsqx/nsqx/internal/guard.panics":  panics,
		"github.com/nsqx/nsqx/internal/guard.indexes": func() { indexes(7) },
	} {
		p := Call(f).(*handler.PanicError)
		check.Want(t, "site", Site(p.Stack), want)
	}
	check.Want(t, "of no panic", Site([]byte("goroutine 1 [running]:\nmain.main()\n")), "")
	check.Want(t, "of nothing", Site(nil), "")
}
