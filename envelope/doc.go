// Package envelope carries headers inside the body of an NSQ message, which has none of its own.
//
// An envelope is a prefix of the body that identifies itself: no JSON, XML, MessagePack or protobuf begins like it. A consumer
// of nsqx recognises it by itself and hands on the payload, so the package is needed only by services on another client,
// which call [Split], and by those who write envelopes by hand, with a [Writer].
//
// Headers come from whoever can publish to the topic: they are input, and not to be trusted or logged.
//
// # Format
//
// Version 1. A length of two bytes is base 128, big endian, with bit 7 set in both.
//
//	offset  size  content
//	0       4     C1 CE D3 D1: C1, and "NSQ" with bit 7 set
//	4       1     0x10 | version
//	5       2     H, the length of all entries, 0 to 16383
//	7       H     entries, at most 64
//	7+H           payload, verbatim
//
//	entry:  1     0x80 | K, the length of the key, 1 to 127
//	        K     key: bytes 21 to 7E, in lower case; readers do not care about the case
//	        2     V, the length of the value, 0 to 16383
//	        V     value: UTF-8 without control characters
//
// No byte of it is a line feed, so what keeps one message a line, as nsq_to_file does, keeps doing so. Of two entries with the
// same key the first counts. A key that starts with "!" must be understood by whoever reads the payload. The keys traceparent,
// tracestate, baggage, content-type and nsqx-* have a fixed meaning.
package envelope
