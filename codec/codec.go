package codec

// Codec converts between a value of type T and the body of a message. All workers of a consumer or
// producer share one codec, so both methods must be safe for concurrent use. The codecs of this
// package are, if the functions given to them are.
//
// A codec may also have a method Validate() error. NewConsumer and NewProducer call it and report
// its error as a configuration error.
type Codec[T any] interface {
	// Append appends the encoding of v to dst and returns the extended slice, like the built-in
	// append; dst may be nil. It keeps neither argument. With an error it returns dst unchanged,
	// although it may have written to the spare capacity of dst.
	//
	// A value should encode to at least one byte, since nsqd refuses an empty body.
	Append(dst []byte, v T) ([]byte, error)

	// Decode returns the value that body encodes; trailing bytes are an error. It must copy what it
	// keeps and must not change body, which is overwritten once the message is settled. With an
	// error it returns the zero T.
	//
	// A body may be empty: nsqd delivers what other clients publish.
	Decode(body []byte) (T, error)
}
