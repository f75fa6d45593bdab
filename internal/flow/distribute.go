package flow

import (
	"cmp"
	"slices"
)

// Distribute quotas total among connections, each with the most it can take
// (nsqd's max-rdy-count): all of it, if they can take that much, and as evenly
// as their limits allow. A remainder goes to those with the highest limit, the
// first of them first, so that when there are more connections than total, the
// last ones get nothing.
func Distribute(total int, limits []int) []int {
	order := make([]int, len(limits))
	for i := range order {
		order[i] = i
	}
	// Who can take least is asked first: what it leaves is for all the others.
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
