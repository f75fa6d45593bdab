// Package test has the black-box tests of package nsqx, the front door: they use its public API
// only, against an nsqd in memory, mostly in virtual time (testing/synctest). Most tests run on
// nsqxtest.Server, a correct nsqd that checks its clients. Tests that script answers, send raw
// frames or check exact message times run on nsqds, in helper_nsqds_test.go.
//
// Each file tests one feature:
//
//	address_test.go            the one form of an address
//	alloc_test.go              allocations of a consumer
//	async_test.go              handler.Async: answers that come later
//	batch_test.go              handlers of batches
//	batch_fault_test.go        handlers of batches: hangs, restarts, limits, Goexit
//	breaker_test.go            backoff when nearly everything fails: the breaker
//	callbacks_test.go          every callback panics, hangs and calls Goexit
//	confirm_test.go            what nsqd has confirmed is not published again
//	deadletter_test.go         publish and confirmation of dead letters
//	deadletter_header_test.go  headers of dead letters
//	defaults_test.go           WithDefaults
//	delay_test.go              PublishAt, PublishAfter, PublishAllAfter: messages that come early
//	deferral_test.go           retry.After(d, nil) and the limits on attempts and age
//	discovery_test.go          discoverers, filter, lookup events
//	expiry_test.go             WithTTL, WithSkipOlder: messages that come too late
//	extremes_test.go           every option at its extremes
//	flow_bound_test.go         nsqd sends more messages, or larger ones, than fit
//	flow_capacity_test.go      MaxInFlight: automatic, by bytes, between consumers
//	flow_latency_test.go       single messages do not wait in nsqd's buffer
//	flow_quota_test.go         MaxInFlight distributed over nsqds
//	flow_stall_test.go         handlers that hang: requeue, overdue events
//	flow_turns_test.go         more nsqds than messages in flight: fairness, number of RDYs
//	identity_test.go           ids, keys and times of messages
//	lifecycle_test.go          Run in order, Start, Stop and Wait, pprof labels
//	observe_test.go            hooks, telemetry, Stats
//	options_test.go            options and defaults of consumers and producers
//	outcome_test.go            the outcome table: handler errors to FIN and REQ
//	override_test.go           nsqxtest.Option replaces addresses and dialer
//	publish_test.go            Publisher and Producer: Send, Publish, PublishAll, middleware
//	publish_alloc_test.go      allocations of a producer
//	publish_async_test.go      PublishAsync and Flush
//	publish_close_test.go      Close of publishers and producers, nil contexts
//	publish_fault_test.go      cut, refused, late and missing answers to publishes
//	publish_frozen_test.go     an nsqd that accepts publishes and does not answer
//	publish_header_test.go     headers and envelopes of publishes
//	publish_nsqds_test.go      which nsqd gets a publish
//	publish_shutdown_test.go   Shutdown of publishers and producers
//	publish_topic_test.go      publishes to topics known at run time
//	publish_tls_test.go        nsqds that require TLS
//	ready_test.go              Ready and Healthy
//	redial_test.go             dials after failures and lost connections
//	redrive_test.go            Redrive
//	requeue_delay_test.go      an old nsqd that accepts no long delay
//	redrive_channel_test.go    the channels of Redrive, and the origin of what it publishes
//	run_test.go                Run, the handler's context, concurrency
//	settings_test.go           Pause, Resume, SetConcurrency, SetMaxInFlight
//	shutdown_test.go           shutdown: handlers and messages
//	shutdown_nsqd_test.go      shutdown: CLS, half-close, peers that misbehave
//	toolarge_test.go           messages above MaxMessageSize
//	usercode_test.go           panics and Goexit of handlers, hooks, loggers, errors
//	usercode_conn_test.go      panics and Goexit of connections, dialers, secrets
//	usercode_discover_test.go  discoverers, filters, dialers that hang
//	usercode_hang_test.go      handlers that hang, and random faults
package test
