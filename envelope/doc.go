// Package envelope carries headers in the body of an NSQ message, which has no headers of its own.
//
// An envelope is a prefix of the body. Most services do not need this package: a producer with
// WithEnvelope writes the prefix, and every consumer of nsqx removes it. Use [Split] to read
// envelopes in a service with another client, and a [Writer] to write them by hand.
//
// Five things to know:
//
//   - An envelope identifies itself: no JSON, XML, MessagePack or protobuf begins like one. [Split]
//     treats any other body as a payload without headers, so both kinds can share a topic.
//   - Nothing is copied: headers and payload that Split returns are parts of the body.
//   - Anyone who can publish to the topic can set headers. Do not trust or log them unchecked.
//   - A reader must refuse a payload if it does not understand a key that starts with "!", such as
//     one that says that the payload is encrypted. Split returns [ErrUnsupported] for such keys.
//   - A [Writer] limits headers to 4096 bytes by default, and omits the least important beyond
//     that.
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
//	        K     key: bytes 21 to 7E, in lower case; readers ignore case
//	        2     V, the length of the value, 0 to 16383
//	        V     value: UTF-8 without control characters
//
// No byte of the prefix is a line feed, so tools that write one message per line, such as
// nsq_to_file, still do. Of two entries with the same key the first counts. The keys traceparent,
// tracestate, baggage, content-type and nsqx-* have a fixed meaning: see [ID] and [DeadTopic].
package envelope
