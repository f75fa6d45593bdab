package main

import (
	"strings"
	"testing"

	"github.com/nsqx/nsqx/examples/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// TestRun: each order is inserted once or refused, in both ways.
func TestRun(t *testing.T) {
	var out strings.Builder
	results, err := run(t.Context(), &out, 200, 3000)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for i, want := range []struct{ inserted, refused int }{{198, 2}, {2970, 30}} {
		if r := results[i]; r.inserted != want.inserted || r.refused != want.refused || r.unfinished != 0 {
			t.Errorf("%s: %+v, want %+v", r.name, r, want)
		}
	}
	for _, text := range []string{"one by one", "3000 of 3000 orders", "rows/s", "times as fast"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in the output:\n%s", text, out.String())
		}
	}
}
