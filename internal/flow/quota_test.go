package flow_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nsqx/nsqx/internal/flow"
)

// all is the demand of a connection that has used all of its quota.
const all = 1 << 20

func TestQuotas(t *testing.T) {
	free := func(demand ...int) (conns []flow.Quota) {
		for _, d := range demand {
			conns = append(conns, flow.Quota{Max: 2500, Demand: d})
		}
		return conns
	}
	tests := []struct {
		name  string
		total int
		conns []flow.Quota
		want  []int
	}{
		{"none", 10, nil, nil},
		{"alone", 10, free(all), []int{10}},
		{"alone and idle", 10, free(0), []int{10}},
		{"nothing to divide", 0, free(all, all), []int{0, 0}},
		{"less than nothing", -5, free(all, all), []int{0, 0}},
		{"even", 10, free(all, all, all), []int{4, 3, 3}},
		{"idle ones lend", 100, free(all, 0, 0), []int{98, 1, 1}},
		{"some use", 100, free(all, 10, 0), []int{89, 10, 1}},
		{"what nobody has a use for is spread", 30, free(1, 1, 10), []int{7, 7, 16}},
		{"max-rdy-count", 100, []flow.Quota{{Max: 5, Demand: all}, {Max: 2500, Demand: all}}, []int{5, 95}},
		{"more than all may have", 100, []flow.Quota{{Max: 5, Demand: all}, {Max: 7}}, []int{5, 7}},
		{"fewer than connections", 2, free(all, all, all, all, all), []int{1, 1, 0, 0, 0}},
		{"waits for the other", 10, []flow.Quota{{Set: 10, Held: 10, Max: 2500, Demand: 2}, {Max: 2500, Demand: all}}, []int{2, 0}},
		{"takes what is free already", 10, []flow.Quota{{Set: 2, Held: 6, Max: 2500, Demand: 2}, {Max: 2500, Demand: all}}, []int{2, 4}},
		{"all of it", 10, []flow.Quota{{Set: 2, Held: 2, Max: 2500, Demand: 2}, {Set: 4, Held: 4, Max: 2500, Demand: all}}, []int{2, 8}},
		{"over the total", 4, []flow.Quota{{Set: 8, Held: 8, Max: 2500, Demand: all}, {Max: 2500, Demand: all}}, []int{2, 0}},
		{"raised within what is held", 10, []flow.Quota{{Set: 0, Held: 5, Max: 2500, Demand: all}, {Set: 5, Held: 5, Max: 2500, Demand: all}}, []int{5, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := flow.Quotas(tt.total, tt.conns); !slices.Equal(got, tt.want) {
				t.Errorf("quotas %v, want %v", got, tt.want)
			}
		})
	}
}

// nsqds plays connections to nsqds that obey a lower quota later.
type nsqds struct {
	random *rand.Rand
	conns  []flow.Quota
}

func (n *nsqds) set(quotas []int) {
	for i, s := range quotas {
		c := &n.conns[i]
		c.Set, c.Held = s, max(c.Held, s)
	}
}

// live lets time pass: some connections obey their quotas, some answer a part of what they hold.
func (n *nsqds) live() {
	for i := range n.conns {
		c := &n.conns[i]
		if c.Held > c.Set && n.random.IntN(2) == 0 {
			c.Held = c.Set + n.random.IntN(c.Held-c.Set)
		}
		switch n.random.IntN(4) {
		case 0:
			c.Demand = 0
		case 1:
			c.Demand = all
		case 2:
			c.Demand = n.random.IntN(100)
		}
	}
}

func (n *nsqds) held() (sum int) {
	for _, c := range n.conns {
		sum += c.Held
	}
	return sum
}

// TestQuotasProperties checks random histories: the total changes, connections come and go, use
// much or nothing, and release a lost quota late.
func TestQuotasProperties(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		n := &nsqds{random: random}
		total := random.IntN(60)
		for step := range 200 {
			switch random.IntN(12) {
			case 0:
				total = random.IntN(60)
			case 1:
				if len(n.conns) < 12 {
					n.conns = append(n.conns, flow.Quota{Max: 1 + random.IntN(40)})
				}
			case 2:
				if k := len(n.conns); k > 0 {
					i := random.IntN(k)
					n.conns = slices.Delete(n.conns, i, i+1)
				}
			}
			before := n.held()
			quotas := flow.Quotas(total, n.conns)
			what := fmt.Sprintf("seed %d, step %d: Quotas(%d, %+v) = %v", seed, step, total, n.conns, quotas)
			sum := 0
			for i, s := range quotas {
				sum += s
				if s < 0 || s > n.conns[i].Max {
					t.Fatalf("%s: %d is not within 0 and max-rdy-count", what, s)
				}
			}
			n.set(quotas)
			if after := n.held(); after > max(total, before) {
				t.Fatalf("%s: nsqd may use %d, was %d", what, after, before)
			}
			if sum > max(total, before) {
				t.Fatalf("%s: the sum is %d", what, sum)
			}
			n.live()
		}
		settle(t, n, total)
	}
}

// settle makes every connection obey its quota and demand all, and checks that the total is used,
// evenly.
func settle(t *testing.T, n *nsqds, total int) {
	t.Helper()
	for range 3 {
		for i := range n.conns {
			c := &n.conns[i]
			c.Held, c.Demand = c.Set, all
		}
		n.set(flow.Quotas(total, n.conns))
	}
	capacity, sum, least, most := 0, 0, total, 0
	for _, c := range n.conns {
		capacity, sum, most = capacity+c.Max, sum+c.Set, max(most, c.Set)
		if c.Set < c.Max {
			least = min(least, c.Set)
		}
	}
	if sum != min(total, capacity) || most > least+1 {
		t.Fatalf("%d divided as %+v", total, n.conns)
	}
}
