package fetch

import (
	"context"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/merge"
)

// freshShare is the share of the time for a collection that the host's own
// servers get when they are asked first.
const freshShare = 2

// FetchFresh is [Fetcher.Fetch] where something new is known to be announced: the
// host's own servers are asked first, since what resolvers and their caches have
// may be older. Only what these prove counts; else it goes on as Fetch does.
func (f *Fetcher) FetchFresh(ctx context.Context, zone, host string, known merge.Announcement) Result {
	return f.fetch(ctx, zone, host, known, (*collection).fresh)
}

func (c *collection) fresh(ctx context.Context) Result {
	var err error
	if c.owner, err = announce.Name(c.zone, c.host); err != nil {
		return c.collect(ctx) // which says why
	}
	var got outcome
	crash := guard(func() { got = c.within(ctx, freshShare, way{x: c.f.route(), direct: true}) })
	if crash == nil && (got.Verdict == Secure || got.Verdict == Absent) {
		return got.Result
	}
	return c.collect(ctx)
}
