// Package codec turns the body of a message into a value and back.
//
// A consumer and a producer take a [Codec] of their type, and what is not a
// value of that type is an error that never reaches the handler:
//
//	codec.JSON[Order]()                                   encoding/json, with what it lets pass in silence refused
//	codec.Bytes(), codec.String()                         the body as it is
//	codec.Of[Order](cbor.Marshal, cbor.Unmarshal)         any package with the two functions of encoding/json
//	codec.Pointer[pb.Order](proto.Marshal, proto.Unmarshal)   types that are used by pointer, as protobuf's are
//	codec.Func(appendOrder, parseOrder)                   a format of one's own
//	codec.Map(inner, compress, decompress)                any of these, compressed, encrypted or signed
//
// A type of one's own that has the two methods of [Codec] is as good as these.
//
// # Whose memory
//
// A body is lent: the connection overwrites it once the message is settled.
// So Decode copies what it keeps, as a json.Unmarshaler must, and it leaves
// the body as it came, since a dead letter carries those bytes. The codecs of
// this package do both; functions given to them have to.
// In the other direction nothing is kept either: what a marshal function
// returns is copied, so it may reuse its memory once Append has returned,
// as long as concurrent calls do not share it.
//
// # Errors
//
// Every error is an [*Error], which names codec and direction and wraps the
// cause. Its text does not print the body and is short whatever was received,
// though a cause may quote the key or the number that it is about. A body that
// does not decode will not decode at the next attempt either, which is why a
// consumer gives it to the dead letter, if there is one, and not to the retry policy.
//
// A constructor returns no error and does not panic. A codec made of parts that do not
// work, such as a nil function, says so by its method Validate, which
// NewConsumer calls, and again at each use.
package codec
