package main

import (
	"context"
	"encoding/json"

	goccy "github.com/goccy/go-json"
	segmentio "github.com/segmentio/encoding/json"

	"github.com/nsqx/nsqx/codec"
)

// library is a JSON library and its codec.
type library struct {
	unmarshal func(body []byte, v any) error
	codec     codec.Codec[order]
}

func encodingJSON() library { return library{json.Unmarshal, codec.JSON[order]()} }

func goccyJSON() library {
	return library{goccy.Unmarshal, codec.Of[order](goccy.Marshal, goccy.Unmarshal)}
}

func segmentioJSON() library {
	return library{segmentio.Unmarshal, codec.Of[order](segmentio.Marshal, segmentio.Unmarshal)}
}

// jsonClient is nsqx with a handler of decoded orders.
func jsonClient(name string, l library) client {
	return client{
		name: name,
		run: func(ctx context.Context, j job, handle func(body []byte)) error {
			return consume(ctx, j, l.codec, func(o order) { handle(mark(o.Kind)) })
		},
		alone: func(body []byte) error { return l.unmarshal(body, new(order)) },
	}
}

// jsonGoNSQ is go-nsq with a handler that decodes.
func jsonGoNSQ() client {
	return client{
		name: "go-nsq-json",
		run: func(ctx context.Context, j job, handle func(body []byte)) error {
			return consumeGoNSQ(ctx, j, func(body []byte) error {
				var o order
				if err := json.Unmarshal(body, &o); err != nil {
					return err
				}
				handle(mark(o.Kind))
				return nil
			})
		},
		alone: func(body []byte) error { return json.Unmarshal(body, new(order)) },
	}
}

// mark returns a kind as the meter's body, without a copy.
func mark(kind string) []byte {
	switch kind {
	case string(startMark):
		return []byte{startMark}
	case string(stopMark):
		return []byte{stopMark}
	default:
		return ordinaryMark
	}
}

var ordinaryMark = []byte{ordinary}
