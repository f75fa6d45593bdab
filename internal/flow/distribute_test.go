package flow_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nsqx/nsqx/internal/flow"
)

func TestDistribute(t *testing.T) {
	const many = 2500
	tests := []struct {
		total        int
		limits, want []int
	}{
		{10, nil, []int{}},
		{0, []int{many, many}, []int{0, 0}},
		{1, []int{many}, []int{1}},
		{9, []int{many, many, many}, []int{3, 3, 3}},
		{10, []int{many, many, many}, []int{4, 3, 3}},
		{11, []int{many, many, many}, []int{4, 4, 3}},
		{2, []int{many, many, many, many}, []int{1, 1, 0, 0}},
		{100, []int{many, 10, many}, []int{45, 10, 45}},
		{101, []int{10, many, many}, []int{10, 46, 45}},
		{100, []int{1, 20, many, many}, []int{1, 20, 40, 39}},
		{100, []int{1, 1, 1}, []int{1, 1, 1}},
		{5, []int{1, 2, 3}, []int{1, 2, 2}},
		{4, []int{1, 1, 9}, []int{1, 1, 2}},
		{1 << 20, []int{1 << 20}, []int{1 << 20}},
		{10, []int{0, many}, []int{0, 10}},
		{10, []int{0, many, 0, many}, []int{0, 5, 0, 5}},
		{10, []int{0, 0}, []int{0, 0}},
		{-1, []int{many}, []int{0}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.total, tt.limits), func(t *testing.T) {
			limits := slices.Clone(tt.limits)
			if got := flow.Distribute(tt.total, limits); !slices.Equal(got, tt.want) {
				t.Errorf("quotas %v, want %v", got, tt.want)
			}
			if !slices.Equal(limits, tt.limits) {
				t.Errorf("the limits are %v now, were %v", limits, tt.limits)
			}
		})
	}
}

// check checks quotas against the documented properties.
func check(t *testing.T, total int, limits []int) {
	t.Helper()
	quotas := flow.Distribute(total, limits)
	if len(quotas) != len(limits) {
		t.Fatalf("%d quotas for %d limits", len(quotas), len(limits))
	}
	sum, capacity, least, most := 0, 0, total, 0
	for i, quota := range quotas {
		if quota < 0 || quota > limits[i] {
			t.Errorf("quota %d is %d, its limit %d", i, quota, limits[i])
		}
		sum += quota
		capacity += limits[i]
		most = max(most, quota)
		if quota < limits[i] {
			least = min(least, quota)
		}
	}
	if want := min(total, capacity); sum != want {
		t.Errorf("%d of %d shared out, want %d", sum, total, want)
	}
	if most > least+1 { // only a connection at its limit may have less
		t.Errorf("a quota of %d beside one of %d that could be more", most, least)
	}
	for i := 1; i < len(quotas); i++ {
		if limits[i-1] >= limits[i] && quotas[i-1] < quotas[i] {
			t.Errorf("quota %d is %d, the later one %d: the remainder goes to the first", i-1, quotas[i-1], quotas[i])
		}
	}
	if t.Failed() {
		t.Fatalf("Distribute(%d, %v) = %v", total, limits, quotas)
	}
}

func TestDistributeProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		limits := make([]int, random.IntN(12))
		for i := range limits {
			limits[i] = random.IntN(1 << random.IntN(13))
		}
		check(t, random.IntN(1<<random.IntN(14)), limits)
	}
}

func FuzzDistribute(f *testing.F) {
	f.Add(10, []byte{1, 2, 3})
	f.Add(7, []byte{0, 255, 0})
	f.Add(1<<20, []byte{})
	f.Fuzz(func(t *testing.T, total int, sizes []byte) {
		total &= 1<<20 - 1
		limits := make([]int, min(len(sizes), 16)) // more of them find nothing more, slowly
		for i, b := range sizes[:len(limits)] {
			limits[i] = int(b) * int(b)
		}
		check(t, total, limits)
	})
}
