// Tests of main.go, options.go, scenario.go and, through them, bare.go, child.go, fleet.go,
// json.go, meter.go, nsqd.go, process.go and publisher.go.

package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestRun runs each scenario once, briefly. The scenario itself checks that every message was
// handled.
func TestRun(t *testing.T) {
	for _, test := range []struct {
		name     string
		args     []string
		scenario scenario
		want     []string
	}{
		{
			name:     "sender",
			args:     []string{"-scenario", "sender", "-messages", "1000", "-size", "10", "-workers", "2"},
			scenario: senderScenario(),
			want:     []string{"drain of 1000 messages, 10-byte bodies, 2 workers: median of 1 rounds", "cpu-ns/msg"},
		},
		{
			name:     "drain",
			args:     []string{"-scenario", "drain", "-messages", "5000", "-nsqds", "3"},
			scenario: drainScenario(),
			want:     []string{"drain of 5000 messages of 3 nsqds, 200-byte bodies, 8 workers: median of 1 rounds", "rate/bare"},
		},
		{
			name:     "drain of large messages",
			args:     []string{"-scenario", "drain", "-messages", "5", "-size", "600000"},
			scenario: drainScenario(),
			want:     []string{"drain of 5 messages of 1 nsqd, 600000-byte bodies"},
		},
		{
			name:     "drain from far",
			args:     []string{"-scenario", "drain", "-messages", "1000", "-rtt", "2ms", "-mbit", "100"},
			scenario: drainScenario(),
			want:     []string{"drain of 1000 messages of 1 nsqd, round trip 2ms, 100 Mbit/s,"},
		},
		{
			name:     "latency",
			args:     []string{"-scenario", "latency", "-messages", "100", "-rate", "500", "-nsqds", "2", "-work", "1ms", "-rtt", "1ms"},
			scenario: latencyScenario(),
			want: []string{"publish to handler of 100 messages, 500 a second, 2 nsqds, round trip 1ms, 200-byte bodies, 8 workers, " +
				"1ms of work: median of 1 rounds", "p50-ms"},
		},
		{
			name:     "publish",
			args:     []string{"-scenario", "publish", "-messages", "300", "-goroutines", "3", "-rtt", "1ms"},
			scenario: publishScenario(),
			want:     []string{"300 messages published to 1 nsqd, round trip 1ms, 200-byte bodies, 3 goroutines: median of 1 rounds", "published/s"},
		},
		{
			name:     "sender, several connections",
			args:     []string{"-scenario", "sender", "-messages", "2000", "-connections", "10", "-inflight", "100"},
			scenario: senderScenario(),
			want:     []string{"drain of 2000 messages, 200-byte bodies, 8 workers, 10 connections, 100 in flight: median of 1 rounds"},
		},
		{
			name:     "json",
			args:     []string{"-scenario", "json", "-messages", "1000"},
			scenario: jsonScenario(),
			want:     []string{"JSON into a struct: drain of 1000 messages", "beyond-ns/msg"},
		},
		{
			name:     "telemetry",
			args:     []string{"-scenario", "telemetry", "-messages", "1000"},
			scenario: telemetryScenario(),
			want:     []string{"OpenTelemetry: drain of 1000 messages", "peak-MB"},
		},
		{
			name:     "idle",
			args:     []string{"-scenario", "idle", "-consumers", "3", "-nsqds", "2"},
			scenario: idleScenario(),
			want:     []string{"3 idle consumers of 2 nsqds, 8 workers each", "goroutines/consumer"},
		},
		{
			name:     "full",
			args:     []string{"-scenario", "full", "-messages", "50", "-size", "1000"},
			scenario: fullScenario(),
			want:     []string{"memory under load: drain of 50 messages, 1000-byte bodies, 8 workers, 4 connections, 2ms of work", "peak-MB"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := run(t.Context(), append(test.args, "-rounds", "1"), &out); err != nil {
				t.Fatal(err)
			}
			want := test.want
			for _, c := range test.scenario.contenders {
				want = append(want, " "+c.client+" ")
			}
			for _, w := range want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q in\n%s", w, out.String())
				}
			}
		})
	}
}

func TestRunFaults(t *testing.T) {
	for args, want := range map[string]string{
		"-scenario=sender -rounds=0":                 "rounds is 0, must be at least 1",
		"-scenario=sender -messages=0":               "messages is 0, must be at least 1",
		"-scenario=sender -messages=-1":              "messages is -1, must be at least 1",
		"-scenario=sender -size=0":                   "size is 0, must be at least 1",
		"-scenario=sender -size=1048577":             "size is 1048577, must be at most 1048576",
		"-scenario=sender -workers=0":                "workers is 0, must be at least 1",
		"-scenario=sender -messages=many":            "invalid value",
		"-scenario=none":                             `no scenario named "none"; there are sender, json, telemetry, drain, latency, publish, idle, full`,
		"-scenario=sender -rtt=1ms":                  "rtt is not for scenario sender",
		"-scenario=drain -work=1ms":                  "work is not for scenario drain",
		"-scenario=drain -nsqds=0":                   "nsqds is 0, must be at least 1",
		"-scenario=drain -nsqds=1025":                "nsqds is 1025, must be at most 1024",
		"-scenario=drain -rtt=-1ms":                  "rtt is -1ms, must be at least 0s",
		"-scenario=drain -mbit=-1":                   "mbit is -1, must be at least 0",
		"-scenario=drain -size=15":                   "size is 15, must be at least 16",
		"-scenario=latency -size=15":                 "size is 15, must be at least 16",
		"-scenario=latency -rate=0":                  "rate is 0, must be at least 1",
		"-scenario=latency -work=-1ms":               "work is -1ms, must be at least 0s",
		"-scenario=latency -work=100ms -rate=80":     "8 workers cannot keep up with 80 messages a second of 100ms each",
		"-scenario=latency -messages=1000000":        "messages is 1000000, must be published in at most 2m30s",
		"-scenario=publish -goroutines=0":            "goroutines is 0, must be at least 1",
		"-scenario=publish -goroutines=1025":         "goroutines is 1025, must be at most 1024",
		"-scenario=publish -workers=2":               "workers is not for scenario publish",
		"-messages=5":                                "messages is not for the suite",
		"-only=none":                                 `no section named "none"; there are rates, drain, publish`,
		"-scenario=sender -quick":                    "quick is not for scenario sender",
		"-scenario=sender -layer=none":               `no layer named "none"; there are plain, tls, snappy, deflate`,
		"-scenario=sender -layer=tls -connections=2": "over tls there is one connection",
		"-scenario=sender -connections=401":          "connections is 401, must be at most 400",
		"-scenario=sender -inflight=-1":              "inflight is -1, must be at least 0",
		"-scenario=drain -clients=bare,none":         `scenario drain has no client named "none"`,
		"-scenario=idle -consumers=0":                "consumers is 0, must be at least 1",
		"-scenario=json -size=20":                    "size is 20, must be at least",
		"-scenario=publish -nsqds=2":                 "nsqds is not for scenario publish",
	} {
		err := run(t.Context(), strings.Fields(args), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// TestParseMessages: the default number of messages is the scenario's.
func TestParseMessages(t *testing.T) {
	for args, want := range map[string]int{
		"-scenario=sender":                1_000_000,
		"-scenario=drain":                 500_000,
		"-scenario=latency":               5_000,
		"-scenario=latency -rate=50":      250,
		"-scenario=latency -rate=10":      100,
		"-scenario=drain -messages=123":   123,
		"-scenario=publish":               500_000,
		"-scenario=publish -goroutines=1": 50_000,
	} {
		o, err := parse(strings.Fields(args), &bytes.Buffer{})
		if err != nil || o.job.Messages != want {
			t.Errorf("%s: %d, %v; want %d", args, o.job.Messages, err, want)
		}
	}
}

// TestParseDefaults: flags override a scenario's defaults, and the suite has fewer rounds.
func TestParseDefaults(t *testing.T) {
	for args, want := range map[string]job{
		"-scenario=full": {Size: 64 << 10, Connections: 4, Work: fullWork},
		"-scenario=full -size=100 -connections=1": {Size: 100, Connections: 1, Work: fullWork},
		"-scenario=sender":                        {Size: 200, Connections: 1},
	} {
		o, err := parse(strings.Fields(args), &bytes.Buffer{})
		if got := o.job; err != nil || got.Size != want.Size || got.Connections != want.Connections || got.Work != want.Work {
			t.Errorf("%s: %+v, %v; want %+v", args, got, err, want)
		}
	}
	for args, want := range map[string]int{"": suiteRounds, "-rounds=2": 2, "-scenario=sender": 5} {
		if o, err := parse(strings.Fields(args), &bytes.Buffer{}); err != nil || o.rounds != want {
			t.Errorf("%s: %d rounds, %v; want %d", args, o.rounds, err, want)
		}
	}
}
