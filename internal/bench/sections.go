package main

import "github.com/nsqx/nsqx/internal/bench/figures"

// sections are those of the page, at most ten: first what most services see, then what a message
// costs at full speed.
func sections() []section {
	all := []section{ratesSection(), drainSection(), publishSection()}
	all = append(all, senderSections()...)
	return append(all, idleSection(), fullSection())
}

func ratesSection() section {
	return section{
		name: "rates", title: "Ordinary rates", scenario: latencyScenario(), messages: 0.4, axis: "messages a second",
		text: "Messages are published at random times to a real nsqd: the time from publish to handler, and the CPU of the " +
			"consumer's process and of nsqd for each message. The bare loop requests one message at a time, and go-nsq 100, " +
			"so nsqd collects go-nsq's for up to 250 ms. nsqx chooses the first by default, and the second with " +
			"nsqx.WithDelivery(nsqx.Batched).",
		points:  points(func(j *job, n int) { j.Rate = n }, "%d", 10, 100, 1000, 10_000),
		columns: []string{"p50-ms", "p99-ms", "p50/bare", "p99/bare", "cpu-us/msg", "cpu/bare", "nsqd-cpu-us/msg"},
		charts: []figures.Chart{
			{Unit: "p50-ms", Title: "median (ms)", Log: true, Lines: true},
			{Unit: "cpu-us/msg", Title: "CPU a message (µs)", Log: true, Lines: true},
		},
	}
}

func drainSection() section {
	return section{
		name: "drain", title: "A full topic of a real nsqd", scenario: drainScenario(), messages: 0.2, axis: "nsqds",
		text: "The rate of emptying a topic of a real nsqd, and its cost for the client and nsqd. nsqx determines the " +
			"number of messages in flight itself; for the others it is 2500.",
		points:  points(func(j *job, n int) { j.NSQDs = n }, "%d", 1, 4),
		columns: []string{"msgs/s", "rate/bare", "cpu-ns/msg", "nsqd-cpu-ns/msg", "writes/msg", "tail-ms"},
		charts: []figures.Chart{
			{Unit: "msgs/s", Title: "messages a second"},
			{Unit: "nsqd-cpu-ns/msg", Title: "nsqd's CPU a message (ns)"},
		},
	}
}

func publishSection() section {
	return section{
		name: "publish", title: "Publishing", scenario: publishScenario(), messages: 0.08, axis: "goroutines",
		text: "Goroutines publish to a real nsqd: one message at a time, waiting for each OK; a hundred with each call; " +
			"or without waiting (async).",
		points:  points(func(j *job, n int) { j.Goroutines = n }, "%d", 1, 8, 64),
		columns: []string{"published/s", "rate/bare", "cpu-ns/msg", "nsqd-cpu-ns/msg", "allocs/msg", "writes/msg", "p50-us", "p99-us"},
		charts:  []figures.Chart{{Unit: "published/s", Title: "messages published a second", Log: true, Lines: true}},
	}
}

// senderSections are about the cost of a message without a real nsqd.
func senderSections() []section {
	costs := []string{"cpu-ns/msg", "cpu/bare", "allocs/msg", "B/msg", "writes/msg", "msgs/s"}
	return []section{
		{
			name: "workers", title: "What a message costs", scenario: senderScenario(), messages: 0.2, axis: "workers",
			text: "CPU of the client's process for a message of 200 bytes, and messages a second, with a handler that does " +
				"nothing. Instead of nsqd, a process sends prebuilt messages and checks each FIN. nsqx gives the handler " +
				"a copy of the body (codec.Bytes), unless the body is in place, as in batches of 500 at a time; all use " +
				"nsqx's default chain. The bare loop has no workers. Each process has a heap of 64 MB beside the client's, " +
				"as a service has, so garbage is collected as often as there.",
			points:  points(func(j *job, n int) { j.Workers = n }, "%d", 1, 8, 64, 1024),
			columns: costs,
			charts: []figures.Chart{
				{Unit: "cpu-ns/msg", Title: "CPU a message (ns)"},
				{Unit: "msgs/s", Title: "messages a second"},
			},
		},
		{
			name: "loads", title: "Other bodies, layers and connections", scenario: senderScenario(), without: []string{"nsqx", "nsqx-batch"},
			messages: 0.08, axis: "differs in",
			text: "The same with 8 workers and one difference to 200-byte bodies over one plain connection. The bare loop uses " +
				"the same libraries as nsqx for TLS and compression. Over more connections, which share 2500 messages in " +
				"flight, each read returns fewer messages and each write has fewer answers.",
			points: []point{
				{plain, func(*job) {}},
				{"16 kB", func(j *job) { j.Size = 16_000 }},
				{layerTLS, func(j *job) { j.Layer = layerTLS }},
				{layerSnappy, func(j *job) { j.Layer = layerSnappy }},
				{layerDeflate, func(j *job) { j.Layer = layerDeflate }},
				{"10 connections", func(j *job) { j.Connections = 10 }},
				{"100 connections", func(j *job) { j.Connections = 100 }},
			},
			columns: costs,
			charts:  []figures.Chart{{Unit: "cpu-ns/msg", Title: "CPU a message (ns)", Log: true}},
		},
		{
			name: "json", title: "JSON into a struct", scenario: jsonScenario(), messages: 0.3, axis: "bytes of a body",
			text: "Each body is decoded. library is the cost of the JSON library alone for as many bodies, on as many " +
				"goroutines, in the same process; beyond is the rest: the client. codec.JSON uses encoding/json; " +
				"the others use codec.Of. Programs built with GOEXPERIMENT=jsonv2 get a faster encoding/json " +
				"without other changes: run this suite with it to compare.",
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
			columns: costs,
			charts:  []figures.Chart{{Unit: "cpu-ns/msg", Title: "CPU a message (ns)"}},
		},
	}
}

func idleSection() section {
	return section{
		name: "idle", title: "Idle consumers", scenario: idleScenario(), messages: 1, axis: "",
		text: "100 consumers with 8 workers each in one process, connected to a real nsqd: memory and goroutines of " +
			"each. live is heap and stacks; goroutines are without the one that called Run.",
		points:  []point{{"", func(*job) {}}},
		columns: []string{"goroutines/consumer", "rss-kB/consumer", "live-kB/consumer"},
		charts:  []figures.Chart{{Unit: "rss-kB/consumer", Title: "memory of an idle consumer (kB)"}},
	}
}

func fullSection() section {
	return section{
		name: "full", title: "Memory under load", scenario: fullScenario(), messages: 0.5, axis: "",
		text: "4 connections, bodies of 64 KiB, and 8 workers that take 2 ms for each: the peak memory of the process. " +
			"nsqx stays within 64 MiB of bodies by default; the others may have 2500 messages (164 " +
			"MB) in flight. go-nsq leaves them in the socket, where they age; the bare loop does not wait for " +
			"workers.",
		points:  []point{{"", func(*job) {}}},
		columns: []string{"peak-MB", "cpu-ns/msg", "allocs/msg", "B/msg", "msgs/s"},
		charts:  []figures.Chart{{Unit: "peak-MB", Title: "most memory (MB)"}},
	}
}
