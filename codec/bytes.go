package codec

// Bytes is the codec of a body as it is. Decode returns a copy, which the
// handler may keep and change, and which is empty rather than nil for an empty
// body. It never fails.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (bytesCodec) Decode(body []byte) ([]byte, error) { return append([]byte{}, body...), nil }

// String is the codec of a body as text. The bytes are taken as they are,
// valid UTF-8 or not, and none is added or trimmed. It never fails.
func String() Codec[string] { return stringCodec{} }

type stringCodec struct{}

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

func (stringCodec) Decode(body []byte) (string, error) { return string(body), nil }
