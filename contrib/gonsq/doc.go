// Package gonsq has the API of go-nsq v1.1.0 over nsqx: a program compiles with its import changed,
//
//	import nsq "github.com/nsqx/nsqx/contrib/gonsq"
//
// and gets nsqx's connections, flow control, discovery and shutdown. It is a step on the way to package nsqx,
// which docs/guide/moving-from-go-nsq.md of the project describes; both clients, and all three APIs, may share
// a channel meanwhile.
//
// # When to use what
//
//   - [NewConsumer] and [NewProducer] are for a program that is to run as it is.
//   - [Func] is for a service that moves handler by handler: it makes a handler of nsqx of one of go-nsq.
//   - A new program uses package nsqx.
//
// # Five things to know
//
//  1. Config, Message, Handler and the like are go-nsq's own types, so code that holds such values goes on, and
//     Config.Set, ConfigFlag and Validate work as they do there. Only the Delegate of a Message is another.
//  2. A setting either has its effect, or NewConsumer and NewProducer refuse it by name: see [OptionError].
//     Refused are a backoff_strategy other than the default, low_rdy_idle_timeout, low_rdy_timeout,
//     rdy_redistribute_interval, lookupd_poll_jitter, and values that nsqx does not allow. Raw commands, and a
//     Conn of one's own, do not exist. Default values mean nsqx's behaviour.
//  3. A message is given up, before a handler sees it, when it was delivered more than max_attempts times.
//     Deliveries do not count that no handler saw, that were answered by RequeueWithoutBackoff, or that failed while
//     all messages failed (see nsqx.Backoff): such a message is handled again. Set max_backoff_duration
//     to 0 if it must not be.
//  4. Handlers stand behind max_in_flight messages: n handlers run at a time, a message may be answered early,
//     late, and from anywhere, and with one handler the calls come in order. A panic, or runtime.Goexit, fails
//     the message and not the process.
//  5. The error of a publish is a *nsqx.PublishError. With errors.Is it is also ErrNotConnected or ErrStopped, as
//     in go-nsq; what nsqd has refused is an ErrProtocol.
//
// # Misuse
//
// What go-nsq documents holds: AddHandler panics after a connect, a second answer has no effect, Stop may come
// before the first connect. Where go-nsq would panic, hang or break the connection without a word about it, a call returns an
// error; one that has no result makes the next ConnectTo… return it. Requeue with a negative delay is Requeue(-1).
// A nil logger writes nothing.
package gonsq
