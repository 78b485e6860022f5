package mske

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/serve"
)

// everything returns a Corefile that has the zones of the provider and the
// signaling domains of two nameservers: that of ns1 is in example.net, that of
// ns2 a zone of its own.
func (p *provider) everything(t testing.TB) string {
	t.Helper()
	delegate := writeKey(t, p.dir, "_signal.ns2.example.net.", 257)
	return strings.NewReplacer("DIR", p.dir, "KSK", p.ksk, "ZSK", p.zsk, "CSK", p.csk, "OWN", delegate).Replace(`
example.org:PORT {
	bind 127.0.0.1
	root DIR
	mske {
		nameservers ns1.example.net ns2.example.net
		key file KSK ZSK
		resolver 127.0.0.1:1
		state mske.db
	}
	dnssec {
		key file KSK ZSK
	}
	file db.example.org
}
example.net:PORT {
	bind 127.0.0.1
	root DIR
	mske {
		nameservers ns1.example.net ns2.example.net
		key file CSK
		resolver 127.0.0.1:1
	}
	mske _signal.ns2.example.net {
		nameservers ns1.example.net ns2.example.net
		key file OWN
		resolver 127.0.0.1:1
	}
	dnssec {
		key file CSK
	}
	file db.example.net
}
`)
}

const (
	signalInside    = "_signal.ns1.example.net."
	signalDelegated = "_signal.ns2.example.net."
)

// startEverything starts CoreDNS with everything and returns the handlers of its
// server blocks. They sign as much at query time as a fuzzer asks for.
func startEverything(f *testing.F) []*MSKE {
	f.Helper()
	p := newProvider(f)
	s := start(f, p.everything(f))
	for _, q := range []*dns.Msg{
		question("example.org.", dns.TypeCDNSKEY, true), question("example.net.", dns.TypeCDNSKEY, true),
		question("_multi.example.org."+signalInside, dns.TypeDNSKEY, true), question("_multi.example.org."+signalDelegated, dns.TypeDNSKEY, true),
		question(signalDelegated, dns.TypeCDS, true),
	} {
		s.until("an answer", q, answered)
	}
	inst := runningHandler(f).instance
	inst.denials, inst.corrections = serve.NewOnline(1000, 1<<30), serve.NewOnline(1000, 1<<30)
	return inst.handlers
}

// client is one that keeps the octets of the answers.
type client struct {
	test.ResponseWriter
	t   *testing.T
	udp bool
	got [][]byte
}

func (c *client) WriteMsg(m *dns.Msg) error {
	wire, err := m.Pack()
	if err != nil {
		c.t.Errorf("Expected an answer that packs, got %v in\n%v", err, m)
		return err
	}
	_, err = c.Write(wire)
	return err
}

func (c *client) Write(wire []byte) (int, error) {
	c.got = append(c.got, slices.Clone(wire))
	return len(wire), nil
}

func (c *client) RemoteAddr() net.Addr {
	if c.udp {
		return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 53), Port: 40000}
	}
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 53), Port: 40000}
}

// FuzzQuery has any octets be a query. Whatever it is gets one answer: to that
// query, no longer than the client takes, and true of the apex.
func FuzzQuery(f *testing.F) {
	var blocks []*dnsserver.Config
	for _, m := range startEverything(f) {
		m.config.Debug = true // a panic ends the process
		blocks = append(blocks, m.config)
	}
	server, err := dnsserver.NewServer("dns://127.0.0.1:53", blocks)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{
		"example.org.", "eXample.NET.", "www.example.org.", "none.example.org.", "example.com.", ".",
		signalInside, signalDelegated, "_multi.example.org." + signalInside, "_multi.example.org." + signalDelegated,
		"org." + signalInside, "org." + signalDelegated, `\000\255.` + signalInside, "*." + signalDelegated, strings.Repeat("a.", 100) + signalInside,
	} {
		for _, qtype := range []uint16{
			dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeDS, dns.TypeANY, dns.TypeRRSIG,
			dns.TypeNSEC, dns.TypeNXNAME, dns.TypeAXFR, dns.TypeOPT, cns.DefaultType,
		} {
			q := question(name, qtype, qtype%2 == 0)
			q.IsEdns0().SetCo(qtype%3 == 0)
			wire, err := q.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, qtype%4 == 0)
		}
	}
	for _, change := range []func(q *dns.Msg){
		func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS },
		func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassANY },
		func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate },
		func(q *dns.Msg) { q.Opcode = dns.OpcodeNotify },
		func(q *dns.Msg) { q.Question = nil },
		func(q *dns.Msg) { q.Question = append(q.Question, q.Question[0]) },
		func(q *dns.Msg) { q.Extra = append(q.Extra, q.Extra[0]) },
		func(q *dns.Msg) { q.IsEdns0().SetVersion(1) },
		func(q *dns.Msg) { q.IsEdns0().SetUDPSize(0) },
		func(q *dns.Msg) { q.Answer = []dns.RR{test.A("example.org. 1 IN A 192.0.2.1")} },
	} {
		q := question("example.org.", dns.TypeDNSKEY, true)
		change(q)
		wire, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, udp bool) {
		r := new(dns.Msg)
		if r.Unpack(wire) != nil || r.Response {
			return // dns.Server answers FORMERR, or nothing
		}
		c := &client{t: t, udp: udp}
		server.ServeDNS(context.WithValue(t.Context(), dnsserver.Key{}, server), c, r.Copy())
		if len(c.got) == 0 && r.Opcode != dns.OpcodeQuery {
			return // file says nothing to a NOTIFY
		}
		if len(c.got) != 1 {
			t.Fatalf("Expected one answer, got %d", len(c.got))
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(c.got[0]); err != nil {
			t.Fatalf("Expected an answer that unpacks, got %v", err)
		}
		if limit := room(r, udp); len(c.got[0]) > limit {
			t.Errorf("Expected at most %d octets, got %d", limit, len(c.got[0]))
		}
		if reply.Id != r.Id || !reply.Response || len(r.Question) == 1 && !slices.Equal(reply.Question, r.Question) {
			t.Errorf("Expected the answer to\n%v\ngot\n%v", r, reply)
		}
		if len(r.Question) == 1 && r.Question[0].Qclass == dns.ClassINET && r.Opcode == dns.OpcodeQuery && version(r) == 0 {
			checkReply(t, r, reply)
		}
	})
}

// room returns how many octets an answer to r may have.
func room(r *dns.Msg, udp bool) int {
	if !udp {
		return dns.MaxMsgSize
	}
	limit := dns.MinMsgSize
	if opt := r.IsEdns0(); opt != nil {
		limit = max(limit, int(opt.UDPSize()))
	}
	return limit
}

// version returns that of EDNS in r, 0 without EDNS.
func version(r *dns.Msg) uint8 {
	if opt := r.IsEdns0(); opt != nil {
		return opt.Version()
	}
	return 0
}

// checkReply checks what the rules P3, S1 and S2 say of an answer, in whichever
// zone its question is.
func checkReply(t *testing.T, r, reply *dns.Msg) {
	t.Helper()
	q := r.Question[0]
	name := dns.CanonicalName(q.Name)
	signaling := dns.IsSubDomain(signalInside, name) || dns.IsSubDomain(signalDelegated, name)
	apex := name == "example.org." || name == "example.net." || name == signalDelegated
	switch {
	case signaling && q.Qtype == dns.TypeNXNAME:
		if reply.Rcode != dns.RcodeFormatError {
			t.Errorf("Expected FORMERR to QTYPE NXNAME (RFC 9824 section 3.5), got\n%v", reply)
		}
		return
	case signaling && (q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR):
		if reply.Rcode != dns.RcodeRefused {
			t.Errorf("Expected REFUSED, got\n%v", reply)
		}
		return
	case !signaling && !apex:
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError || !reply.Authoritative:
		if name == signalDelegated || signaling || new(serve.Apex).Answers(q.Qtype) {
			t.Errorf("Expected an authoritative answer or denial, got\n%v", reply)
		}
	case apex && new(serve.Apex).Answers(q.Qtype) && !reply.Truncated:
		if len(records(reply.Answer, q.Qtype)) == 0 || len(reply.Ns) > 0 || wantsDNSSEC(r) != (len(records(reply.Answer, dns.TypeRRSIG)) > 0) {
			t.Errorf("Expected the key set, with signatures for those who want them, got\n%v", reply)
		}
	case signaling && len(reply.Answer) == 0 && !reply.Truncated:
		if len(records(reply.Ns, dns.TypeSOA)) != 1 || wantsDNSSEC(r) != (len(records(reply.Ns, dns.TypeNSEC)) > 0) {
			t.Errorf("Expected a denial, with a proof for those who want one, got\n%v", reply)
		}
	}
	checkBitmaps(t, r, reply)
}

// checkBitmaps checks that no answer denies what is served at an apex.
func checkBitmaps(t *testing.T, r, reply *dns.Msg) {
	t.Helper()
	if !wantsDNSSEC(r) {
		return
	}
	for _, rr := range slices.Concat(records(reply.Answer, dns.TypeNSEC), records(reply.Ns, dns.TypeNSEC)) {
		types := rr.(*dns.NSEC).TypeBitMap
		if !slices.Contains(types, dns.TypeSOA) {
			continue
		}
		for _, served := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
			if !slices.Contains(types, served) {
				t.Errorf("Expected %s in the bitmap of an apex, got %v", dns.Type(served), rr)
			}
		}
	}
}

// FuzzNextPlugin has any octets be what the next plugin answers, as octets or as
// a message, to the questions that need it: those that it answers itself, those
// that it has to prove something for, and those of our own.
func FuzzNextPlugin(f *testing.F) {
	handlers := startEverything(f)
	withheld := *handlers[1].zones["example.net."].view.Load()
	withheld.CDNSKEY = serve.ApexSet{Answer: serve.Withheld}
	handlers[1].zones["example.net."].view.Store(&withheld)
	asked := []*dns.Msg{
		question("example.org.", dns.TypeTXT, true), question("example.org.", dns.TypeANY, false), question("example.org.", dns.TypeANY, true),
		question("www.example.org.", dns.TypeA, false), question("example.net.", dns.TypeCDNSKEY, true), question("example.net.", dns.TypeCDNSKEY, false),
		question("none."+signalInside, dns.TypeTXT, true), question(signalInside, dns.TypeTXT, false), question(signalDelegated, dns.TypeDS, true),
	}
	for i, q := range asked {
		zone := q.Question[0].Name[strings.Index(q.Question[0].Name, "example."):]
		lies := []dns.RR{
			test.SOA(zone + " 3600 IN SOA ns1.example.net. h.example.net. 1 7200 3600 1209600 3600"),
			test.RRSIG(zone + " 3600 IN RRSIG SOA 13 2 3600 20300101000000 20200101000000 1 " + zone + " c2ln"),
			test.NSEC(zone + " 300 IN NSEC \\000." + zone + " NS SOA RRSIG NSEC"),
		}
		for _, fill := range []func(m *dns.Msg){
			func(m *dns.Msg) { m.Ns = lies },
			func(m *dns.Msg) { m.Answer = lies },
			func(m *dns.Msg) {
				m.Answer = []dns.RR{test.DNSKEY("Example.org. 300 IN DNSKEY 256 3 13 a2V5"), lies[0]}
			},
			func(m *dns.Msg) { m.Rcode = dns.RcodeNameError },
		} {
			m := new(dns.Msg).SetReply(q)
			fill(m)
			wire, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, uint8(i), true)
			f.Add(wire, uint8(i), false)
		}
	}
	f.Add([]byte("no message"), uint8(0), false)
	f.Fuzz(func(t *testing.T, wire []byte, which uint8, message bool) {
		r := asked[int(which)%len(asked)]
		next := nextFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
			m := new(dns.Msg)
			if !message || m.Unpack(wire) != nil {
				_, err := w.Write(wire)
				return dns.RcodeSuccess, err
			}
			return dns.RcodeSuccess, w.WriteMsg(m)
		})
		m := *handlers[0]
		if !dns.IsSubDomain("example.org.", r.Question[0].Name) {
			m = *handlers[1]
		}
		m.Next = next
		m.ask = m.asker()
		c := new(passing)
		rcode, err := m.ServeDNS(t.Context(), c, r.Copy())
		if len(c.messages)+len(c.octets) > 1 || plugin.ClientWrite(rcode) != (len(c.messages)+len(c.octets) == 1) {
			t.Errorf("Expected one answer or the duty to answer, got %d, %v and %v", rcode, err, c)
		}
		from := new(dns.Msg)
		readable := from.Unpack(wire) == nil
		for _, octets := range c.octets {
			if readable && (wantsDNSSEC(r) || r.Question[0].Qtype == dns.TypeANY) || !slices.Equal(octets, wire) {
				t.Errorf("Expected octets to be passed on as they are if they are no message, got %x", octets)
			}
		}
		if unfit := from.Rcode != dns.RcodeSuccess || len(from.Answer) > 0; readable && unfit && r.Question[0].Qtype == dns.TypeCDNSKEY && plugin.ClientWrite(rcode) {
			t.Errorf("Expected no denial without a proof, got %v", c.messages)
		}
		for _, reply := range c.messages {
			checkPassed(t, r, from, reply)
		}
	})
}

// passing is a client that keeps what it is sent, as it is sent.
type passing struct {
	test.ResponseWriter
	messages []*dns.Msg
	octets   [][]byte
}

func (c *passing) WriteMsg(m *dns.Msg) error {
	c.messages = append(c.messages, m)
	return nil
}

func (c *passing) Write(wire []byte) (int, error) {
	c.octets = append(c.octets, wire)
	return len(wire), nil
}

// checkPassed checks an answer to r for which the next plugin said from.
func checkPassed(t *testing.T, r, from, reply *dns.Msg) {
	t.Helper()
	if _, err := from.Pack(); err == nil {
		if _, err := reply.Pack(); err != nil {
			t.Errorf("Expected an answer that packs, got %v in\n%v", err, reply)
		}
	}
	q := r.Question[0]
	name := dns.CanonicalName(q.Name)
	ours := q.Qtype == dns.TypeCDNSKEY || dns.IsSubDomain(signalInside, name)
	switch {
	case ours:
		checkDenial(t, r, reply)
	case reply.Id != from.Id && reply.Rcode != dns.RcodeServerFailure:
		t.Errorf("Expected the next plugin's own answer, got\n%v", reply)
	case q.Qtype == dns.TypeANY:
		for _, rr := range reply.Answer {
			sig, isSig := rr.(*dns.RRSIG)
			if dns.CanonicalName(rr.Header().Name) == name && (new(serve.Apex).Answers(rr.Header().Rrtype) || isSig && new(serve.Apex).Answers(sig.TypeCovered)) {
				t.Errorf("Expected no key set in an answer to ANY, got %v", rr)
			}
		}
	}
	if !wantsDNSSEC(r) {
		return
	}
	zone := "example.net."
	if dns.IsSubDomain("example.org.", name) {
		zone = "example.org."
	}
	for _, rr := range slices.Concat(reply.Answer, reply.Ns) {
		nsec, ok := rr.(*dns.NSEC)
		if !ok || nsec.Hdr.Class != dns.ClassINET || !strings.EqualFold(nsec.Hdr.Name, zone) || !slices.Contains(nsec.TypeBitMap, dns.TypeSOA) {
			continue
		}
		for _, rrtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
			withheld := rrtype == dns.TypeCDNSKEY && zone == "example.net."
			if slices.Contains(nsec.TypeBitMap, rrtype) == withheld {
				t.Errorf("Expected %s in the bitmap unless it is withheld, got %v", dns.Type(rrtype), nsec)
			}
		}
	}
}

// checkDenial checks an answer of ours that says that there is nothing, with
// what the next plugin had to say for proof.
func checkDenial(t *testing.T, r, reply *dns.Msg) {
	t.Helper()
	if reply.Id != r.Id || !slices.Equal(reply.Question, r.Question) || !reply.Authoritative || len(reply.Answer) > 0 {
		t.Errorf("Expected an authoritative denial for\n%v\ngot\n%v", r, reply)
	}
	for _, rr := range reply.Ns {
		h := rr.Header()
		secure := h.Rrtype == dns.TypeRRSIG || h.Rrtype == dns.TypeNSEC || h.Rrtype == dns.TypeNSEC3
		if secure && !wantsDNSSEC(r) {
			t.Errorf("Expected no %s for a client without DO", dns.Type(h.Rrtype))
		}
		if r.Question[0].Qtype != dns.TypeCDNSKEY && (h.Ttl > 300 || !secure && h.Rrtype != dns.TypeSOA) {
			t.Errorf("Expected SOA and proof for 300 s at most, got %v", rr)
		}
	}
}
