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

// NewConsumer and NewProducer take a codec. This example calls it directly.
func Example() {
	type Order struct {
		ID   int    `json:"id"`
		Item string `json:"item"`
	}
	orders := codec.JSON[Order]()

	body, err := orders.Append(nil, Order{ID: 7, Item: "tea"}) // as a producer does
	fmt.Println(string(body), err)

	order, err := orders.Decode(body) // as a consumer does, before it calls the handler
	fmt.Println(order, err)

	_, err = orders.Decode([]byte(`{"id":"seven"}`)) // a consumer does not call the handler
	if e, ok := errors.AsType[*codec.Error](err); ok {
		fmt.Println(e.Op, e.Codec)
		fmt.Println(e.Err)
	}
	// Output:
	// {"id":7,"item":"tea"} <nil>
	// {7 tea} <nil>
	// decode JSON[codec_test.Order]
	// json: cannot unmarshal string into Go struct field Order.id of type int
}

func ExampleJSON() {
	type Order struct {
		ID   int    `json:"id"`
		Item string `json:"item"`
	}
	c := codec.JSON[Order]()

	body, err := c.Append(nil, Order{ID: 7, Item: "coffee & cake"})
	fmt.Println(string(body), err)

	order, err := c.Decode([]byte(`{"id":8,"item":"tea","note":"ignored"}`))
	fmt.Printf("%+v %v\n", order, err)

	_, err = c.Decode([]byte(`null`)) // encoding/json would return Order{}
	fmt.Println(err)
	// Output:
	// {"id":7,"item":"coffee & cake"} <nil>
	// {ID:8 Item:tea} <nil>
	// nsqx: codec.JSON[codec_test.Order]: decode: null is not taken for a value of this type
}

func ExampleDisallowUnknownFields() {
	type Order struct {
		ID   int    `json:"id"`
		Item string `json:"item"`
	}
	c := codec.JSON[Order](codec.DisallowUnknownFields())
	_, err := c.Decode([]byte(`{"id":8,"itme":"tea"}`))
	fmt.Println(err)
	// Output:
	// nsqx: codec.JSON[codec_test.Order]: decode: json: unknown field "itme"
}

func ExampleAllowNull() {
	type Order struct {
		ID int `json:"id"`
	}
	c := codec.JSON[*Order](codec.AllowNull())
	order, err := c.Decode([]byte(`null`))
	fmt.Println(order == nil, err)
	// Output:
	// true <nil>
}

func ExampleStrictUTF8() {
	type Order struct {
		Item string `json:"item"`
	}
	c := codec.JSON[Order](codec.StrictUTF8())
	_, err := c.Decode([]byte("{\"item\":\"caf\xe9\"}")) // Latin-1
	fmt.Println(errors.Is(err, codec.ErrUTF8), err)
	// Output:
	// true nsqx: codec.JSON[codec_test.Order]: decode: not valid UTF-8: byte 12
}

func ExampleBytes() {
	c := codec.Bytes()
	body := []byte("unchanged")
	v, err := c.Decode(body)
	copy(body, "reused!!!") // v is a copy
	fmt.Println(string(v), err)
	// Output:
	// unchanged <nil>
}

func ExampleString() {
	c := codec.String()
	body, _ := c.Append([]byte("hello "), "gopher")
	v, err := c.Decode(body)
	fmt.Println(v, err)
	// Output:
	// hello gopher <nil>
}

// Any package with the two functions of encoding/json works.
func ExampleOf() {
	type Order struct {
		ID   int    `xml:"id,attr"`
		Item string `xml:"item"`
	}
	c := codec.Of[Order](xml.Marshal, xml.Unmarshal)
	body, err := c.Append(nil, Order{ID: 7, Item: "tea"})
	fmt.Println(string(body), err)
	order, err := c.Decode(body)
	fmt.Printf("%+v %v\n", order, err)
	// Output:
	// <Order id="7"><item>tea</item></Order> <nil>
	// {ID:7 Item:tea} <nil>
}

// A package of encoders and decoders needs two short functions. Each body is a gob stream of its
// own, including the type description.
func ExampleOf_gob() {
	type Order struct {
		ID   int
		Item string
	}
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

// A custom format: a number, then text. Only the text is allocated.
func ExampleFunc() {
	type Order struct {
		ID   int
		Item string
	}
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

// Compressed JSON, with a limit on the decompressed size.
func ExampleMap() {
	type Order struct {
		ID   int    `json:"id"`
		Item string `json:"item"`
	}
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
