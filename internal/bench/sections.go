package main

import "github.com/nsqx/nsqx/internal/bench/figures"

func sections() []section {
	cpu := func(title string) figures.Chart {
		return figures.Chart{Unit: "cpu-ns/msg", Title: title, Log: true, Lines: true}
	}
	costs := []string{"cpu-ns/msg", "cpu/bare", "allocs/msg", "B/msg", "writes/msg", "msgs/s", "peak-MB"}
	few := []string{"cpu-ns/msg", "cpu/bare", "allocs/msg", "writes/msg", "msgs/s", "peak-MB"}
	return []section{
		{
			name: "workers", title: "What a message costs", scenario: senderScenario(), messages: 0.2, axis: "workers",
			text: "CPU of the client's process for a message of 200 bytes, and messages a second, with a handler that does " +
				"nothing. Instead of nsqd, a process sends prebuilt messages and checks each FIN. nsqx gives the handler " +
				"a copy of the body (codec.Bytes), nsqx-lent the body in place; both use nsqx's default chain. The bare " +
				"loop has no workers, so its figures do not depend on their number.",
			points:  points(func(j *job, n int) { j.Workers = n }, "%d", 1, 8, 64),
			columns: costs,
			charts: []figures.Chart{
				{Unit: "cpu-ns/msg", Title: "CPU a message (ns)"},
				{Unit: "msgs/s", Title: "messages a second"},
			},
		},
		{
			name: "sizes", title: "Larger bodies", scenario: senderScenario(), messages: 0.1, axis: "bytes of a body",
			text: "The same with 8 workers and other sizes. From some kilobytes on, the number of memory allocations " +
				"dominates.",
			points:  points(func(j *job, n int) { j.Size = n }, "%d", 100, 1000, 16_000),
			columns: costs,
			charts:  []figures.Chart{cpu("CPU a message (ns) by size of its body")},
		},
		{
			name: "layers", title: "TLS and compression", scenario: senderScenario(), messages: 0.1, axis: "layer",
			text: "200-byte bodies, all different, over the layers that nsqd supports between the protocol and TCP. The " +
				"bare loop uses the same libraries as nsqx.",
			points:  points(func(j *job, layer string) { j.Layer = layer }, "%s", layers()...),
			columns: few,
			charts:  []figures.Chart{{Unit: "cpu-ns/msg", Title: "CPU a message (ns) by layer"}},
		},
		{
			name: "json", title: "JSON into a struct", scenario: jsonScenario(), messages: 0.3, axis: "bytes of a body",
			text: "Each body is decoded. library is the cost of the JSON library alone for as many bodies, on as many " +
				"goroutines, in the same process; beyond is the rest: the client. nsqx-json uses codec.JSON, which uses " +
				"encoding/json; the others use codec.Of.",
			points:  points(func(j *job, n int) { j.Size = n }, "%d", 200, 1000),
			columns: []string{"cpu-ns/msg", "library-ns/msg", "beyond-ns/msg", "allocs/msg", "library-allocs/msg", "beyond-allocs/msg", "msgs/s"},
			charts: []figures.Chart{
				{Unit: "cpu-ns/msg", Title: "CPU a message (ns), JSON decoded"},
				{Unit: "beyond-ns/msg", Title: "CPU a message (ns) beyond the JSON library"},
			},
		},
		{
			name: "telemetry", title: "OpenTelemetry", scenario: telemetryScenario(), messages: 0.4, axis: "",
			text: "nsqx without telemetry, with no-op providers, with metrics of the SDK and no sampled span, and with a " +
				"sampled span of each message, batched for an exporter that discards it.",
			points:  []point{{"", func(*job) {}}},
			columns: few,
			charts:  []figures.Chart{{Unit: "cpu-ns/msg", Title: "CPU a message (ns)"}},
		},
		{
			name: "drain", title: "A full topic of a real nsqd", scenario: drainScenario(), messages: 0.2, axis: "nsqds",
			text: "The rate of emptying a topic of a real nsqd, and its cost for the client and nsqd. nsqx determines the " +
				"number of messages in flight itself; for nsqx-fixed and the others it is set.",
			points:  points(func(j *job, n int) { j.NSQDs = n }, "%d", 1, 4),
			columns: []string{"msgs/s", "rate/bare", "cpu-ns/msg", "nsqd-cpu-ns/msg", "writes/msg", "tail-ms"},
			charts: []figures.Chart{
				{Unit: "msgs/s", Title: "messages a second"},
				{Unit: "nsqd-cpu-ns/msg", Title: "nsqd's CPU a message (ns)"},
			},
		},
		{
			name: "latency", title: "Publish to handler", scenario: latencyScenario(), messages: 0.4, axis: "messages a second",
			text: "The time from publish to handler through a real nsqd. go-nsq requests 100 messages at once, so nsqd " +
				"buffers them for up to 250 ms; the bare loop requests one at a time.",
			points:  points(func(j *job, n int) { j.Rate = n }, "%d", 10, 100, 1000, 10_000),
			columns: []string{"p50-ms", "p90-ms", "p99-ms", "max-ms", "p50/bare", "cpu-us/msg", "nsqd-cpu-us/msg"},
			charts: []figures.Chart{
				{Unit: "p50-ms", Title: "median (ms)", Log: true, Lines: true},
				{Unit: "p99-ms", Title: "99th percentile (ms)", Log: true, Lines: true},
			},
		},
		{
			name: "publish", title: "Publishing", scenario: publishScenario(), messages: 0.08, axis: "goroutines",
			text: "Goroutines publish to a real nsqd: one message at a time, waiting for each OK; a hundred with each call " +
				"(multi); or without waiting (async).",
			points:  points(func(j *job, n int) { j.Goroutines = n }, "%d", 1, 8, 64, 256),
			columns: []string{"published/s", "rate/bare", "cpu-ns/msg", "nsqd-cpu-ns/msg", "allocs/msg", "writes/msg", "p50-us", "p99-us"},
			charts:  []figures.Chart{{Unit: "published/s", Title: "messages published a second", Log: true, Lines: true}},
		},
		{
			name: "idle", title: "Idle consumers", scenario: idleScenario(), messages: 1, axis: "",
			text: "100 consumers with 8 workers each in one process, connected to a real nsqd: memory and goroutines of " +
				"each. live is heap and stacks; goroutines are without the one that called Run.",
			points:  []point{{"", func(*job) {}}},
			columns: []string{"goroutines/consumer", "rss-kB/consumer", "live-kB/consumer"},
			charts:  []figures.Chart{{Unit: "rss-kB/consumer", Title: "memory of an idle consumer (kB)"}},
		},
		{
			name: "full", title: "Memory under load", scenario: fullScenario(), messages: 0.5, axis: "",
			text: "4 connections, bodies of 64 KiB, and 8 workers that take 2 ms for each: the peak memory of the process. " +
				"nsqx stays within 64 MiB of bodies by default; nsqx-fixed and the others may have 2500 messages (164 " +
				"MB) in flight. go-nsq leaves them in the socket, where they age; the bare loop does not wait for " +
				"workers.",
			points:  []point{{"", func(*job) {}}},
			columns: []string{"peak-MB", "cpu-ns/msg", "allocs/msg", "B/msg", "msgs/s"},
			charts:  []figures.Chart{{Unit: "peak-MB", Title: "most memory (MB)"}},
		},
		growth("connections", "More connections", 0.1, func(j *job, n int) { j.Connections = n },
			"The same load over more connections. Each read returns fewer messages, and each write has fewer "+
				"answers, so each system call and wakeup serves fewer messages.", 1, 10, 100),
		growth("concurrency", "More workers", 0.1, func(j *job, n int) { j.Workers = n },
			"The same load with more workers, which wake each other up and pass the CPU on.", 1, 8, 64, 256, 1024),
		growth("inflight", "More in flight", 0.05, func(j *job, n int) { j.MaxInFlight = n },
			"The same load with fewer messages in flight. With one, each message has its own read, write and two "+
				"wakeups; from some hundred on, many messages use the same ones, and the cost is flat.", 1, 10, 100, 1000, 2500),
	}
}

// growth is a section about the cost of a message as a function of one number.
func growth(name, title string, messages float64, set func(j *job, n int), text string, values ...int) section {
	return section{
		name: name, title: title, text: text, scenario: senderScenario(), without: []string{"nsqx"}, messages: messages, axis: name,
		points:  points(set, "%d", values...),
		columns: []string{"cpu-ns/msg", "cpu/bare", "allocs/msg", "writes/msg", "msgs/s", "peak-MB"},
		charts:  []figures.Chart{{Unit: "cpu-ns/msg", Title: "CPU a message (ns) by " + name, Log: true, Lines: true}},
	}
}
