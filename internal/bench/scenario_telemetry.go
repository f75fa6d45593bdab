package main

// telemetryScenario adds OpenTelemetry step by step.
func telemetryScenario() scenario {
	return scenario{
		name:     "telemetry",
		flags:    []string{"workers"},
		messages: func(job) int { return 500_000 },
		contenders: []contender{
			{client: "bare", maxInFlight: 2500},
			{client: "nsqx", maxInFlight: 2500},
			{client: "nsqx-noop", maxInFlight: 2500},
			{client: "nsqx-sdk", maxInFlight: 2500},
			{client: "nsqx-spans", maxInFlight: 2500},
		},
		check:   func(job) error { return nil },
		title:   func(j job) string { return "OpenTelemetry: " + senderTitle(j) },
		metrics: senderMetrics,
		lap:     lapSender,
	}
}
