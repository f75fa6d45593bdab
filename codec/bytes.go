package codec

// Bytes returns the codec that leaves a body unchanged. Decode returns a copy, which the handler
// may keep and change; for an empty body the copy is empty, not nil. It never fails.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (bytesCodec) Decode(body []byte) ([]byte, error) { return append([]byte{}, body...), nil }

// String returns the codec of a body as text. It neither checks for valid UTF-8 nor adds or trims
// bytes. It never fails.
func String() Codec[string] { return stringCodec{} }

type stringCodec struct{}

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

func (stringCodec) Decode(body []byte) (string, error) { return string(body), nil }
