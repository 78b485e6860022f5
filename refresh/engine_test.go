package refresh

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/lifecycle"
)

func TestSingleProviderServesItsOwnKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectReady(e, true)
		w.expectPhase(e, lifecycle.Single)
	})
}

func TestNewZoneIsServedAndAnnouncedWhenTheServerBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		w.startOnly()
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectAnnounced(dns.TypeDNSKEY, w.zsk.ID())
	})
}

func TestZoneThatDoesNotAnswerHoldsUpTheStartForSecondsOnly(t *testing.T) {
	for name, ask := range map[string]chain.Asker{
		"gives up": func(ctx context.Context, _ *dns.Msg) (*dns.Msg, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"does not give up": func(context.Context, *dns.Msg) (*dns.Msg, error) {
			time.Sleep(time.Minute)
			return nil, errNotYet
		},
		"panics": func(context.Context, *dns.Msg) (*dns.Msg, error) { panic("in a plugin") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.zone.Ask = ask
				began := time.Now()
				e := w.startOnly()
				if took := time.Since(began); took > startTimeout {
					t.Errorf("Expected to start within %v, got %v", startTimeout, took)
				}
				w.pass(2 * time.Minute)
				w.expectReady(e, false)
			})
		})
	}
}

func TestPeerNamedInCNSIsImportedWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		p := w.join()
		w.pass(3 * time.Second)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.expectPhase(e, lifecycle.Joint)
		w.expectReady(e, true)
		expectLog(t, w.log, 1, "serves DNSKEY +1/-0", "CDS +1/-0")
		expectLog(t, w.log, 1, "WARNING", "new secure-entry key")
	})
}
