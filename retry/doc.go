// Package retry lets a handler say what should become of a message that it could not handle.
//
// A handler returns an ordinary error, and the message is requeued after the delay of the
// consumer's [Policy]. Mark the error with [Permanent], [Drop] or [After] where that is wrong:
//
//	the handler returns         Of(err).Action   the message
//	nil                         Finish           is done: FIN
//	any other error             Backoff          is requeued: REQ with the policy's delay,
//	                                             or given up if the policy returns Stop
//	Quietly(err)                Backoff          the same, but it is no failure for the breaker
//	After(d, err)               Delay            failed and is requeued: REQ d
//	After(d, nil)               Again            did not fail and is requeued: REQ d
//	Permanent(err)              GiveUp           goes to the dead letter topic; FIN if there is none
//	backoff.Permanent(err)      GiveUp           like Permanent; of cenkalti/backoff v4
//	Drop(err)                   Discard          is forgotten: FIN, no dead letter
//
// Five things to know:
//
//   - The consumer's limits on attempts and age apply to Backoff and Delay, but not to Again, which
//     is not a failure.
//   - Markers wrap. [errors.Is], [errors.As] and [errors.Unwrap] see through them, and [Of] finds a
//     marker inside an error that was wrapped or joined. The outermost marker wins.
//   - Domain errors need not import this package: map them in one place with [Match], [Is] and
//     [As].
//   - A policy computes a delay from the number of the failed attempt, which nsqd counts. It keeps
//     no state for a message, so delays keep growing whichever consumer of the channel fails next.
//     nsqd shortens a delay to its -max-req-timeout (1 hour by default). On the wire a delay is a
//     whole number of milliseconds.
//   - Invalid arguments do not panic, neither in a constructor nor in Delay. Validate reports each
//     of them, and NewConsumer calls Validate.
//
// The policies are [Exponential], [Linear], [Schedule], [PolicyFunc] and [FromBackOff].
package retry
