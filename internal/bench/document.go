package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// order is what a body decodes to, where it is decoded.
type order struct {
	Kind     string `json:"kind"`
	ID       int64  `json:"id"`
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
	Paid     bool   `json:"paid"`
	Lines    []item `json:"lines"`
	Note     string `json:"note"`
}

type item struct {
	SKU   string `json:"sku"`
	Count int    `json:"n"`
	Cents int64  `json:"cents"`
}

// kindOffset is where the kind of an encoded order begins.
const kindOffset = len(`{"kind":"`)

// minDocument is what an order without lines takes.
var minDocument = len(document(random(), 0))

// random is the same in each process: a client can make the bodies that the sender sends.
func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// documents are n bodies of size bytes, no two alike: what repeats itself would be no work for a compressor. Those that are too
// short for an order are its first bytes.
func documents(n, size int) [][]byte {
	r := random()
	all := make([][]byte, n)
	for i := range all {
		all[i] = document(r, size)[:size]
	}
	return all
}

// document is an order in JSON, with as many lines as go into size bytes. Its last string makes it that long.
func document(r *rand.Rand, size int) []byte {
	const end = `],"note":"`
	b := fmt.Appendf(nil, `{"kind":"%c","id":%d,"customer":"c-%d","cents":%d,"paid":true,"lines":[`,
		ordinary, digits(r, 9), digits(r, 5), digits(r, 6))
	for comma := ""; ; comma = "," {
		next := fmt.Appendf(nil, `%s{"sku":"%c-%d","n":%d,"cents":%d}`, comma, 'A'+r.IntN(26), digits(r, 5), digits(r, 1), digits(r, 4))
		if len(b)+len(next)+len(end)+len(`"}`) > size {
			break
		}
		b = append(b, next...)
	}
	b = append(b, end...)
	b = append(b, bytes.Repeat([]byte("-"), max(0, size-len(b)-len(`"}`)))...)
	return append(b, `"}`...)
}

// digits is a number of n digits.
func digits(r *rand.Rand, n int) int {
	least := 1
	for range n - 1 {
		least *= 10
	}
	return least + r.IntN(9*least)
}
