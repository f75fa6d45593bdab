// Package observe holds what a service can see of nsqx: hooks and their events, statistics, the
// interface of a telemetry, and the errors of a shutdown. Package nsqx has aliases for the types
// that most services meet; this package exists so that others, such as an exporter of metrics, can
// name them without importing nsqx.
//
// Hooks are a struct of functions. Set those that are needed:
//
//	nsqx.WithHooks(observe.Hooks{
//		OnDisconnect: func(e observe.ConnEvent) { lost.WithLabelValues(e.NSQD).Inc() },
//	})
//
// Five things to know:
//
//   - Hooks run one after the other in a goroutine of the service, except OnSettle, which runs in
//     the handler's. None can stall a connection.
//   - Stats are a snapshot. Counters start when the service is made and never fall; a ConnStats
//     counts over all connections to its address.
//   - A [Telemetry] gets one middleware for each direction, hooks, and access to Stats.
//   - A [ShutdownError] names each message that a shutdown left behind.
//   - Events and Stats encode to JSON for log systems: names in snake case, durations in seconds
//     with the unit in the name ("retry_seconds"), errors as text ("error"), times as in RFC 3339;
//     nil errors and zero times are left out.
package observe
