package main

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"
)

// Each client, in its own process, answers each message with exactly one FIN, and is measured.
func TestDrain(t *testing.T) {
	for _, size := range []int{1, 100_000} {
		j := defaultJob()
		j.Messages, j.Size, j.MaxInFlight = 1000, size, 100
		results, err := drainAll(t.Context(), j) // an error if a message was not answered once
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		for _, c := range clients() {
			r, ok := results[c.name]
			if !ok {
				t.Errorf("size %d: nothing from %s", size, c.name)
			}
			if got, want := r.Sender.Messages, 100+1+1000+1; got != want {
				t.Errorf("size %d: %s: %d messages, want %d", size, c.name, got, want)
			}
			if r.Client.CPU <= 0 || r.Client.Wall <= 0 || r.Sender.CPU <= 0 || r.Sender.Reads == 0 {
				t.Errorf("size %d: %s: not measured: %+v", size, c.name, r)
			}
			if runtime.GOOS == "linux" && r.Client.Writes == 0 {
				t.Errorf("size %d: %s: write calls not counted", size, c.name)
			}
		}
	}
}

// go-nsq is known to allocate and to write for each message: a meter that misses either would show it here.
func TestDrainMeasuresGoNSQ(t *testing.T) {
	j := defaultJob()
	j.Messages, j.Client = 5000, "go-nsq"
	r, err := drain(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if r.Client.Allocs < 5*5000 || r.Client.Bytes < 200*5000 {
		t.Errorf("%d allocations of %d bytes for 5000 messages", r.Client.Allocs, r.Client.Bytes)
	}
	if r.writes() < 5000*9/10 {
		t.Errorf("%d write calls for 5000 messages", r.writes())
	}
}

func TestDrainFaults(t *testing.T) {
	j := defaultJob()
	j.Messages, j.Client = 10, "nobody"
	if _, err := drain(t.Context(), j); err == nil || !strings.Contains(err.Error(), `no client named "nobody"`) {
		t.Errorf("unknown client: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j.Client = "bare"
	if _, err := drain(ctx, j); err == nil {
		t.Error("cancelled: no error")
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-rounds", "1", "-messages", "1000", "-size", "10", "-workers", "2"}, &out); err != nil {
		t.Fatal(err)
	}
	want := []string{"drain of 1000 messages, 10-byte bodies, 2 workers: median of 1 rounds", "cpu-ns/msg"}
	for _, c := range clients() {
		want = append(want, c.name)
	}
	for _, w := range want {
		if !strings.Contains(out.String(), w) {
			t.Errorf("no %q in\n%s", w, out.String())
		}
	}
}

func TestRunFaults(t *testing.T) {
	for flag, want := range map[string]string{
		"-rounds=0":      "rounds is 0, must be at least 1",
		"-messages=-1":   "messages is -1, must be at least 1",
		"-size=0":        "size is 0, must be at least 1",
		"-size=1048577":  "size is 1048577, must be at most 1048576",
		"-workers=0":     "workers is 0, must be at least 1",
		"-messages=many": "invalid value",
	} {
		err := run(t.Context(), []string{flag}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", flag, err, want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median(%v) = %v, want %v", test.values, got, test.want)
		}
	}
}
