package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// order is the decoded form of a body.
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

// kindOffset is the offset of the kind in an encoded order.
const kindOffset = len(`{"kind":"`)

// minDocument is the size of an order without lines.
var minDocument = len(document(random(), 0))

// random has the same sequence in each process, so a client can make the sender's bodies.
func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// documents returns n different bodies of size bytes: compressing equal ones would be too easy. A
// body too short for an order is a prefix of one.
func documents(n, size int) [][]byte {
	r := random()
	all := make([][]byte, n)
	for i := range all {
		all[i] = document(r, size)[:size]
	}
	return all
}

// document returns an order in JSON with as many lines as fit into size bytes. Its note pads it to
// that size.
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

// digits returns a random number of n digits.
func digits(r *rand.Rand, n int) int {
	least := 1
	for range n - 1 {
		least *= 10
	}
	return least + r.IntN(9*least)
}
