// Package codec converts between the body of a message and a Go value.
//
// A consumer and a producer of type T take a [Codec] of T. [JSON] suits most services. The other
// constructors cover raw bodies, other formats, and compression, encryption or signatures:
//
//	codec.JSON[Order]()                                       encoding/json, but null is an error
//	codec.Bytes(), codec.String()                             the body unchanged
//	codec.Of[Order](cbor.Marshal, cbor.Unmarshal)             functions like those of encoding/json
//	codec.Pointer[pb.Order](proto.Marshal, proto.Unmarshal)   types used by pointer, as in protobuf
//	codec.Func(appendOrder, parseOrder)                       a custom format
//	codec.Map(inner, compress, decompress)                    a transformation of another codec's bytes
//
// Any type with the two methods of [Codec] works as well.
//
// Five things to know:
//
//   - A body that does not decode never reaches the handler. It would fail at every attempt, so the
//     consumer sends it to the dead letter topic, if there is one, without asking the retry policy.
//   - A body belongs to the connection, which overwrites it once the message is settled. Decode
//     must copy what it keeps and must not change the body, since a dead letter carries the same
//     bytes. The codecs of this package do so; functions given to them must do so too.
//   - Append keeps nothing. The bytes that a marshal function returns are copied, so the function
//     may reuse its memory after Append has returned, unless concurrent calls share it.
//   - Every error is an [*Error]. It names the codec and the direction, and wraps the cause. Its
//     text is short and does not print the body, but a cause may quote the key or number it
//     concerns.
//   - Constructors neither fail nor panic. A codec with an unusable part, such as a nil function,
//     reports the part from its method Validate, which NewConsumer and NewProducer call, and again
//     at each use.
package codec
