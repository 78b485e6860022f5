package differential

import (
	"context"
	"strconv"
	"testing"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
)

// fetch collects the announcement of a world as a whole.
func (p *peer) fetch(ctx context.Context, w *world) fetch.Result {
	return p.fetcher.Fetch(ctx, w.announced, w.host, merge.Announcement{})
}

func portOf(tb testing.TB, port string) uint16 {
	tb.Helper()
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		tb.Fatal(err)
	}
	return uint16(number)
}
