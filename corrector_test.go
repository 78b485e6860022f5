package mske

import (
	"context"
	"errors"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/serve"
)

// misstating is a next plugin whose NSEC of the apex lacks the key sets. It
// writes messages, or octets, or what is no message.
func misstating(form string) plugin.Handler {
	return nextFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		m := new(dns.Msg).SetReply(r)
		m.Ns = []dns.RR{
			test.SOA("example.org. 300 IN SOA ns1.example.net. hostmaster.example.org. 1 7200 3600 1209600 300"),
			test.NSEC(`example.org. 300 IN NSEC \000.example.org. NS SOA RRSIG NSEC`),
		}
		switch form {
		case "message":
			return dns.RcodeSuccess, w.WriteMsg(m)
		case "octets":
			wire, err := m.Pack()
			if err != nil {
				return dns.RcodeServerFailure, err
			}
			_, err = w.Write(wire)
			return dns.RcodeSuccess, err
		default:
			_, err := w.Write([]byte(form))
			return dns.RcodeSuccess, err
		}
	})
}

// inProcess returns a running handler for example.org with another next plugin.
func inProcess(t *testing.T, next plugin.Handler) *MSKE {
	t.Helper()
	p := newProvider(t)
	s := start(t, p.corefile(""))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	m := *runningHandler(t)
	m.Next = next
	return &m
}

func TestCorrectsWhateverFormTheAnswerHas(t *testing.T) {
	for _, form := range []string{"message", "octets"} {
		m := inProcess(t, misstating(form))
		rec := dnstest.NewRecorder(&test.ResponseWriter{})
		if _, err := m.ServeDNS(t.Context(), rec, question("example.org.", dns.TypeTXT, true)); err != nil {
			t.Fatal(err)
		}
		nsec := records(rec.Msg.Ns, dns.TypeNSEC)
		if len(nsec) != 1 || len(nsec[0].(*dns.NSEC).TypeBitMap) != 7 {
			t.Errorf("%s: expected DNSKEY, CDS and CDNSKEY in the bitmap, got %v", form, nsec)
		}

		rec = dnstest.NewRecorder(&test.ResponseWriter{})
		if _, err := m.ServeDNS(t.Context(), rec, question("example.org.", dns.TypeTXT, false)); err != nil {
			t.Fatal(err)
		}
		if form == "message" && len(records(rec.Msg.Ns, dns.TypeNSEC)[0].(*dns.NSEC).TypeBitMap) != 4 {
			t.Errorf("Expected an answer without DO to stay as it is, got %v", rec.Msg)
		}
	}
}

// DS at a zone's apex is the parent's to answer, so that it is the parent's
// apex that may be in the proof: with NSEC3 and opt-out, say.
func TestDenialOfDSNamesWhatIsServedAtTheParent(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.everything(t))
	for _, zone := range []string{"example.net.", signalDelegated} {
		s.until("an answer", question(zone, dns.TypeDNSKEY, true), answered)
	}
	m := *runningHandler(t).instance.handlers[1]
	m.Next = nextFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		reply := new(dns.Msg).SetReply(r)
		reply.Ns = []dns.RR{test.NSEC("example.net. 300 IN NSEC ns1.example.net. NS SOA RRSIG NSEC")}
		return dns.RcodeSuccess, w.WriteMsg(reply)
	})
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	if _, err := m.ServeDNS(t.Context(), rec, question(signalDelegated, dns.TypeDS, true)); err != nil {
		t.Fatal(err)
	}
	if bitmap := rec.Msg.Ns[0].(*dns.NSEC).TypeBitMap; len(bitmap) != 7 {
		t.Errorf("Expected DNSKEY, CDS and CDNSKEY in the bitmap, got %v", rec.Msg.Ns[0])
	}
}

// An answer to ANY, which forward may bring, is kept by some resolvers.
func TestKeySetsBehindUsAreInNoAnswerToANY(t *testing.T) {
	soa := test.SOA("example.org. 300 IN SOA ns1.example.net. hostmaster.example.org. 1 7200 3600 1209600 300")
	below := test.DNSKEY("a.example.org. 300 IN DNSKEY 256 3 13 a2V5")
	m := inProcess(t, nextFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		reply := new(dns.Msg).SetReply(r)
		reply.Answer = []dns.RR{
			soa, below,
			test.DNSKEY("Example.org. 300 IN DNSKEY 256 3 13 a2V5"),
			test.RRSIG("example.org. 300 IN RRSIG DNSKEY 13 2 300 20300101000000 20200101000000 1 example.org. c2ln"),
			test.RRSIG("example.org. 300 IN RRSIG CDS 13 2 300 20300101000000 20200101000000 1 example.org. c2ln"),
		}
		return dns.RcodeSuccess, w.WriteMsg(reply)
	}))
	for _, do := range []bool{true, false} {
		rec := dnstest.NewRecorder(&test.ResponseWriter{})
		if _, err := m.ServeDNS(t.Context(), rec, question("eXample.org.", dns.TypeANY, do)); err != nil {
			t.Fatal(err)
		}
		if got := rec.Msg.Answer; len(got) != 2 || got[0] != soa || got[1] != below {
			t.Errorf("DO %t: expected all but the key sets, got\n%v", do, rec.Msg)
		}
	}
}

func TestFloodOfDenialsLeavesCorrectionsAlone(t *testing.T) {
	m := inProcess(t, misstating("message"))
	m.instance.denials = serve.NewOnline(1, 0) // used up
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	if _, err := m.ServeDNS(t.Context(), rec, question("example.org.", dns.TypeTXT, true)); err != nil || rec.Msg.Rcode != dns.RcodeSuccess {
		t.Errorf("Expected a corrected answer, got %v\n%v", err, rec.Msg)
	}
}

// octets is a client that keeps what is written to it as octets.
type octets struct {
	test.ResponseWriter
	got []byte
}

func (w *octets) Write(b []byte) (int, error) {
	w.got = b
	return len(b), nil
}

func TestPassesOnWhatIsNoMessage(t *testing.T) {
	m := inProcess(t, misstating("not a message"))
	w := new(octets)
	if _, err := m.ServeDNS(t.Context(), w, question("example.org.", dns.TypeTXT, true)); err != nil || string(w.got) != "not a message" {
		t.Errorf("Expected the octets as they are, got %q, %v", w.got, err)
	}
}

// broken is a client that is gone.
type broken struct{ test.ResponseWriter }

var errGone = errors.New("the client is gone")

func (*broken) WriteMsg(*dns.Msg) error { return errGone }

func TestReportsThatAnAnswerWasNotWritten(t *testing.T) {
	m := inProcess(t, misstating("message"))
	rcode, err := m.ServeDNS(t.Context(), new(broken), question("example.org.", dns.TypeDNSKEY, true))
	if !errors.Is(err, errGone) || !plugin.ClientWrite(rcode) {
		t.Errorf("Expected the writer's error and no second answer, got %d, %v", rcode, err)
	}
}
