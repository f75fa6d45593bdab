package flow

import (
	"cmp"
	"slices"
)

// Distribute divides total among connections with the given limits (nsqd's max-rdy-count): all of
// it, if the limits permit, and as evenly as they permit. A remainder goes to the highest limits,
// the first of them first. So with more connections than total, the last ones get 0.
func Distribute(total int, limits []int) []int {
	order := make([]int, len(limits))
	for i := range order {
		order[i] = i
	}
	// The lowest limit comes first: what it leaves is divided among the others.
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(limits[a], limits[b]), cmp.Compare(b, a))
	})
	quotas := make([]int, len(limits))
	total = max(total, 0)
	for asked, i := range order {
		quotas[i] = min(limits[i], total/(len(order)-asked))
		total -= quotas[i]
	}
	return quotas
}
