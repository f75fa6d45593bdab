// Package envelope carries headers inside the body of an NSQ message, which has none of its own.
//
// An envelope is a prefix of the body that identifies itself: no JSON, XML, MessagePack or protobuf begins like it. A consumer
// of nsqx recognises it by itself and hands on the payload, so the package is needed only by services on another client,
// which call [Split], and by those who write envelopes by hand.
//
// Headers come from whoever can publish to the topic: they are input, and not to be trusted or logged.
package envelope
