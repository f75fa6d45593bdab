// Package retry is the vocabulary in which a handler answers: what an error
// asks for, and how long a message that failed waits for its next attempt.
//
// A handler returns an ordinary error. Unless it says otherwise, the message is
// requeued after the delay of the consumer's [Policy]. [Permanent], [Drop] and
// [After] mark an error as asking for something else:
//
//	the handler returns         Of(err).Action   the message
//	nil                         Finish           is done: FIN
//	any other error             Backoff          is requeued: REQ with the policy's delay,
//	                                             or given up when the policy answers Stop
//	After(d, err)               Delay            failed, is requeued: REQ d
//	After(d, nil)               Again            did not fail, is requeued: REQ d
//	Permanent(err)              GiveUp           goes to the dead letter topic; FIN if there is none
//	backoff.Permanent(err)      GiveUp           as Permanent; cenkalti/backoff v4
//	Drop(err)                   Discard          is forgotten: FIN, no dead letter
//
// The bounds of the consumer, attempts and age, apply to Backoff and Delay. They
// do not apply to Again, which is no failure.
//
// All markers wrap: [errors.Is], [errors.As] and [errors.Unwrap] see through
// them, and [Of] finds them inside an error that was wrapped or joined on its
// way up. Where several are nested, the outermost wins.
//
// Errors of the domain that know nothing of this package are mapped in one
// place instead of in each handler, with [Match], [Is] and [As].
//
// # Policies
//
// [Exponential], [Linear], [Schedule], [PolicyFunc] and [FromBackOff] compute a
// delay from the number of the attempt that just failed, which nsqd counts. So
// no state is kept for a message, and its delays go on growing in whichever
// consumer of the channel it fails next.
//
// A delay longer than nsqd's -max-req-timeout (1 hour unless configured) is cut
// to that. On the wire a delay is a whole number of milliseconds.
//
// Bad arguments do not panic, neither when a policy is made nor in Delay. Its
// Validate method, which building a consumer calls, reports each of them.
package retry
