package codec_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nsqx/nsqx/codec"
)

// ProtoMessage stands for proto.Message.
type ProtoMessage interface {
	AppendText(b []byte) ([]byte, error)
	UnmarshalText(b []byte) error
}

// Marshal stands for proto.Marshal.
func Marshal(m ProtoMessage) ([]byte, error) { return m.AppendText(nil) }

// Unmarshal stands for proto.Unmarshal.
func Unmarshal(b []byte, m ProtoMessage) error { return m.UnmarshalText(b) }

// Greeting stands for a generated type: its methods have a pointer receiver.
type Greeting struct{ to string }

func (g *Greeting) AppendText(b []byte) ([]byte, error) {
	return append(b, "hello "+g.to...), nil
}

func (g *Greeting) UnmarshalText(b []byte) error {
	to, ok := strings.CutPrefix(string(b), "hello ")
	if !ok {
		return errors.New("no greeting")
	}
	g.to = to
	return nil
}

// With protobuf: codec.Pointer[pb.Greeting](proto.Marshal, proto.Unmarshal).
func ExamplePointer() {
	c := codec.Pointer[Greeting](Marshal, Unmarshal)
	body, err := c.Append(nil, &Greeting{to: "gopher"})
	fmt.Println(string(body), err)
	greeting, err := c.Decode(body)
	fmt.Println(greeting.to, err)

	// A wrong type is an error of NewConsumer and NewProducer, which call Validate.
	wrong := codec.Pointer[strings.Builder](Marshal, Unmarshal)
	fmt.Println(wrong.(interface{ Validate() error }).Validate())
	// Output:
	// hello gopher <nil>
	// gopher <nil>
	// nsqx: codec.Pointer[strings.Builder]: *strings.Builder does not implement codec_test.ProtoMessage
}
