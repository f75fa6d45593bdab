package main

import (
	"context"
	"runtime"
	"strings"
	"testing"
)

// TestSenderScenario: each client, in its own process, is measured and answers each message with
// exactly one FIN.
func TestSenderScenario(t *testing.T) {
	scenario := senderScenario()
	for _, size := range []int{1, 100_000} {
		j := defaultJob()
		j.Messages, j.Size = 200, size
		results, err := scenario.round(t.Context(), nil, j) // an error if a message was not answered once
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		for _, c := range scenario.contenders {
			r, ok := results[c.client]
			if !ok {
				t.Errorf("size %d: nothing from %s", size, c.client)
			}
			if got, want := r.Sender.Messages, 20+1+200+1; got != want {
				t.Errorf("size %d: %s: %d messages, want %d", size, c.client, got, want)
			}
			if r.Client.CPU <= 0 || r.Client.Wall <= 0 || r.Sender.CPU <= 0 || r.Sender.Reads == 0 {
				t.Errorf("size %d: %s: not measured: %+v", size, c.client, r)
			}
			if runtime.GOOS == "linux" && r.Client.Writes == 0 {
				t.Errorf("size %d: %s: write calls not counted", size, c.client)
			}
		}
	}
}

// TestSenderMeasuresGoNSQ: go-nsq allocates and writes for each message, and the meter must show
// both.
func TestSenderMeasuresGoNSQ(t *testing.T) {
	j := defaultJob()
	j.Messages, j.Client, j.MaxInFlight = 5000, "go-nsq", 2500
	r, err := lapSender(t.Context(), nil, j)
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

func TestSenderScenarioFaults(t *testing.T) {
	j := defaultJob()
	j.Messages, j.Client = 10, "nobody"
	if _, err := lapSender(t.Context(), nil, j); err == nil || !strings.Contains(err.Error(), `no client named "nobody"`) {
		t.Errorf("unknown client: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j.Client = "bare"
	if _, err := lapSender(ctx, nil, j); err == nil {
		t.Error("cancelled: no error")
	}
}
