package refresh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/chain"
)

const (
	// probeDelay is how long after the start the first probe waits for the
	// server's own sockets.
	probeDelay = 5 * time.Second

	// probeTimeout bounds one probe of a subtree.
	probeTimeout = time.Minute
)

// probe finds out whether the zone that encloses t denies what we announce in
// it (rule P4).
func (e *Engine) probe(t *subtree) {
	t.probing = true
	z := t.zone
	hosts := z.open().facts.state.NS
	if z.Whole {
		hosts = []string{t.NS}
	}
	name := ""
	for _, m := range t.members {
		if m.announced && len(m.announces().keys.CDS) > 0 {
			name, _ = announce.Name(m.Name, t.NS)
			break
		}
	}
	e.submit(&e.loop.probes, task{
		zone: z,
		run: func(ctx context.Context) func() {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			unfit, unsure := e.probeAll(ctx, t.Subtree, slices.Clone(hosts), name)
			return func() { e.probed(t, unfit, unsure) }
		},
		fail: func() { e.probed(t, nil, errors.New("internal error")) },
	})
}

// probeAll returns what denies our announcements, and what could not be found
// out.
func (e *Engine) probeAll(ctx context.Context, t *Subtree, hosts []string, name string) (unfit, unsure error) {
	if !t.Zone.Whole {
		random := fmt.Sprintf("mske-probe-%08x.%s", rand.Uint32(), announce.SignalingDomain(t.NS))
		err := chain.ProbeDenial(ctx, t.Zone.Ask, random)
		var denial *chain.UnfitError
		if errors.As(err, &denial) {
			return err, nil
		}
		unsure = err
	}
	prober, ok := t.Zone.Fetcher.(Prober)
	if !ok || name == "" {
		return nil, unsure
	}
	for _, host := range hosts {
		addrs, err := prober.Addresses(ctx, host)
		unsure = errors.Join(unsure, err)
		for _, addr := range addrs {
			denied, err := prober.Denies(ctx, addr, name, dns.TypeCDS)
			if denied {
				return fmt.Errorf("the nameserver %s (%s) denies %s with a valid proof", host, addr.Addr(), name), nil
			}
			unsure = errors.Join(unsure, err)
		}
	}
	return nil, unsure
}

// probed says what a probe found.
func (e *Engine) probed(t *subtree, unfit, unsure error) {
	z, domain := t.zone, announce.SignalingDomain(t.NS)
	t.probing = false
	t.probeAt = e.loop.now.Add(jitter(z.RefreshMax))
	topic := "denial " + t.NS
	e.loop.news = true
	switch {
	case !e.loop.clock.right():
	case unfit != nil:
		z.say(topic, levelProblem, "unfit", "it denies our announcements, so that other providers cannot collect them: %v; delegate %s to %s alone, and name it as a zone of mske", unfit, domain, t.NS)
	case unsure != nil:
		e.config.Log.Debugf("Probing the denial of names below %s: %v", domain, unsure)
	default:
		z.settle(topic)
	}
}
