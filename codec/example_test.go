package codec_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/gob"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nsqx/nsqx/codec"
)

type Order struct {
	ID   int    `json:"id" xml:"id,attr"`
	Item string `json:"item" xml:"item"`
}

func ExampleJSON() {
	c := codec.JSON[Order]()

	body, err := c.Append(nil, Order{ID: 7, Item: "coffee & cake"})
	fmt.Println(string(body), err)

	order, err := c.Decode([]byte(`{"id":8,"item":"tea","note":"ignored"}`))
	fmt.Printf("%+v %v\n", order, err)

	_, err = c.Decode([]byte(`null`)) // encoding/json would give Order{}
	fmt.Println(err)
	// Output:
	// {"id":7,"item":"coffee & cake"} <nil>
	// {ID:8 Item:tea} <nil>
	// nsqx: codec.JSON[codec_test.Order]: decode: null is not taken for a value of this type
}

func ExampleDisallowUnknownFields() {
	c := codec.JSON[Order](codec.DisallowUnknownFields())
	_, err := c.Decode([]byte(`{"id":8,"itme":"tea"}`))
	fmt.Println(err)
	// Output:
	// nsqx: codec.JSON[codec_test.Order]: decode: json: unknown field "itme"
}

func ExampleAllowNull() {
	c := codec.JSON[*Order](codec.AllowNull())
	order, err := c.Decode([]byte(`null`))
	fmt.Println(order == nil, err)
	// Output:
	// true <nil>
}

func ExampleStrictUTF8() {
	c := codec.JSON[Order](codec.StrictUTF8())
	_, err := c.Decode([]byte("{\"item\":\"caf\xe9\"}")) // Latin-1
	fmt.Println(errors.Is(err, codec.ErrUTF8), err)
	// Output:
	// true nsqx: codec.JSON[codec_test.Order]: decode: not valid UTF-8: byte 12
}

func ExampleBytes() {
	c := codec.Bytes()
	body := []byte("as it is")
	v, err := c.Decode(body)
	copy(body, "reused!!") // v is a copy
	fmt.Println(string(v), err)
	// Output:
	// as it is <nil>
}

func ExampleString() {
	c := codec.String()
	body, _ := c.Append([]byte("dear "), "gopher")
	v, err := c.Decode(body)
	fmt.Println(v, err)
	// Output:
	// dear gopher <nil>
}

// Any package with the two functions of encoding/json will do.
func ExampleOf() {
	c := codec.Of[Order](xml.Marshal, xml.Unmarshal)
	body, err := c.Append(nil, Order{ID: 7, Item: "tea"})
	fmt.Println(string(body), err)
	order, err := c.Decode(body)
	fmt.Printf("%+v %v\n", order, err)
	// Output:
	// <Order id="7"><item>tea</item></Order> <nil>
	// {ID:7 Item:tea} <nil>
}

// A package with encoders and decoders needs two lines around them. Each body is a
// gob stream of its own, type description included.
func ExampleOf_gob() {
	marshal := func(v any) ([]byte, error) {
		var b bytes.Buffer
		err := gob.NewEncoder(&b).Encode(v)
		return b.Bytes(), err
	}
	unmarshal := func(body []byte, v any) error {
		return gob.NewDecoder(bytes.NewReader(body)).Decode(v)
	}

	c := codec.Of[Order](marshal, unmarshal)
	body, err := c.Append(nil, Order{ID: 7, Item: "tea"})
	if err != nil {
		fmt.Println(err)
		return
	}
	order, err := c.Decode(body)
	fmt.Printf("%+v %v\n", order, err)
	// Output:
	// {ID:7 Item:tea} <nil>
}

// A format of one's own: a number and the text after it, without an allocation
// but for the text.
func ExampleFunc() {
	c := codec.Func(
		func(dst []byte, o Order) ([]byte, error) {
			return append(binary.AppendVarint(dst, int64(o.ID)), o.Item...), nil
		},
		func(body []byte) (Order, error) {
			id, n := binary.Varint(body)
			if n <= 0 {
				return Order{}, errors.New("no order id")
			}
			return Order{ID: int(id), Item: string(body[n:])}, nil
		})

	body, _ := c.Append(nil, Order{ID: 7, Item: "tea"})
	fmt.Printf("%q\n", body)
	order, err := c.Decode(body)
	fmt.Printf("%+v %v\n", order, err)
	_, err = c.Decode(nil)
	fmt.Println(err)
	// Output:
	// "\x0etea"
	// {ID:7 Item:tea} <nil>
	// nsqx: codec.Func[codec_test.Order]: decode: no order id
}

// ProtoMessage stands for proto.Message; Marshal and Unmarshal for the functions
// of package proto.
type ProtoMessage interface {
	AppendText(b []byte) ([]byte, error)
	UnmarshalText(b []byte) error
}

func Marshal(m ProtoMessage) ([]byte, error)   { return m.AppendText(nil) }
func Unmarshal(b []byte, m ProtoMessage) error { return m.UnmarshalText(b) }

// Greeting stands for a generated type: its methods are on the pointer.
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

	// NewConsumer says this before a message arrives.
	wrong := codec.Pointer[Order](Marshal, Unmarshal)
	fmt.Println(wrong.(interface{ Validate() error }).Validate())
	// Output:
	// hello gopher <nil>
	// gopher <nil>
	// nsqx: codec.Pointer[codec_test.Order]: *codec_test.Order does not implement codec_test.ProtoMessage
}

// Compressed JSON, with a limit to what a body may become.
func ExampleMap() {
	const limit = 1 << 20
	compress := func(plain []byte) ([]byte, error) {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(plain); err != nil {
			return nil, err
		}
		err := w.Close()
		return b.Bytes(), err
	}
	decompress := func(body []byte) ([]byte, error) {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		plain, err := io.ReadAll(io.LimitReader(r, limit+1))
		if len(plain) > limit {
			return nil, errors.New("more than 1 MiB when decompressed")
		}
		return plain, err
	}

	c := codec.Map(codec.JSON[Order](), compress, decompress)
	body, err := c.Append(nil, Order{ID: 7, Item: strings.Repeat("tea ", 1000)})
	fmt.Println(len(body) < 200, err)
	order, err := c.Decode(body)
	fmt.Println(order.ID, len(order.Item), err)

	bomb, _ := compress(make([]byte, 2<<20))
	_, err = c.Decode(bomb)
	fmt.Println(err)
	_, err = c.Decode([]byte(`{"id":7,"item":"tea"}`))
	fmt.Println(err)
	// Output:
	// true <nil>
	// 7 4000 <nil>
	// nsqx: codec.Map[codec_test.Order]: decode: more than 1 MiB when decompressed
	// nsqx: codec.Map[codec_test.Order]: decode: gzip: invalid header
}
