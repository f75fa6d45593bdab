package codec

// Codec converts between a value of T and the body of a message. One codec
// serves all workers of a consumer or a producer, so both methods must be safe
// for concurrent use; those of this package are, as far as the functions given
// to them are.
//
// A codec may also have a method Validate() error. NewConsumer calls it and
// returns what it reports as a fault of the configuration.
type Codec[T any] interface {
	// Append appends the encoding of v to dst and returns the longer slice, as
	// the built-in append does; dst may be nil. It keeps neither. With an error
	// it returns dst as it was given, though the bytes between its length
	// and its capacity may have been written to.
	//
	// nsqd refuses an empty body, so a value should encode to a byte at least.
	Append(dst []byte, v T) ([]byte, error)

	// Decode returns the value that body holds, all of it: what follows the
	// value is an error. The body is lent and read-only. Decode must copy what
	// it keeps of it, since the bytes are overwritten once the message is
	// settled, and must not change them. With an error it returns the zero T.
	//
	// A body can be empty: nsqd delivers what other clients made of it.
	Decode(body []byte) (T, error)
}
