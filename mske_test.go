package mske

import (
	"bytes"
	"fmt"
	golog "log"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/plugin/test"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/serve"
)

// cds returns the CDS record of k as SHA-256, ttl in seconds.
func cds(owner string, k *dns.DNSKEY, ttl uint32) dns.RR {
	rr := &dns.CDS{DS: *k.ToDS(dns.SHA256)}
	rr.Hdr = dns.RR_Header{Name: owner, Rrtype: dns.TypeCDS, Class: dns.ClassINET, Ttl: ttl}
	return rr
}

// cdnskey returns the CDNSKEY record of k, ttl in seconds.
func cdnskey(owner string, k *dns.DNSKEY, ttl uint32) dns.RR {
	rr := &dns.CDNSKEY{DNSKEY: *k}
	rr.Hdr = dns.RR_Header{Name: owner, Rrtype: dns.TypeCDNSKEY, Class: dns.ClassINET, Ttl: ttl}
	return rr
}

// dnskey returns the DNSKEY record of k at owner, ttl in seconds.
func dnskey(owner string, k *dns.DNSKEY, ttl uint32) dns.RR {
	rr := *k
	rr.Hdr = dns.RR_Header{Name: owner, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: ttl}
	return &rr
}

func TestAnswersApexKeySets(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	ksk, zsk := p.key(t, p.ksk), p.key(t, p.zsk)
	const zone = "example.org."
	for _, tt := range []struct {
		qtype   uint16
		want    []dns.RR
		signers []*dns.DNSKEY
	}{
		{dns.TypeDNSKEY, []dns.RR{dnskey(zone, ksk, 3600), dnskey(zone, zsk, 3600)}, []*dns.DNSKEY{ksk}},
		{dns.TypeCDS, []dns.RR{cds(zone, ksk, 3600)}, []*dns.DNSKEY{ksk, zsk}},
		{dns.TypeCDNSKEY, []dns.RR{cdnskey(zone, ksk, 3600)}, []*dns.DNSKEY{ksk, zsk}},
	} {
		reply := s.until("an answer", question("eXample.ORG.", tt.qtype, true), answered)
		if !reply.Authoritative || reply.Truncated || len(reply.Ns) > 0 {
			t.Errorf("%s: expected an authoritative answer and nothing else, got\n%v", dns.Type(tt.qtype), reply)
		}
		if name := reply.Question[0].Name; name != "eXample.ORG." {
			t.Errorf("Expected the case of the question, got %q", name)
		}
		expectRecords(t, reply.Answer, tt.want...)
		expectSigned(t, reply.Answer, tt.signers...)

		plain := s.ask(question(zone, tt.qtype, false))
		expectRecords(t, plain.Answer, tt.want...)
		if len(records(plain.Answer, dns.TypeRRSIG)) > 0 {
			t.Errorf("%s: expected no signatures without DO, got\n%v", dns.Type(tt.qtype), plain)
		}
	}
}

func TestLeavesOtherQuestionsToTheNextPlugin(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	zsk := p.key(t, p.zsk)
	reply := s.ask(question("www.example.org.", dns.TypeA, true))
	expectRecords(t, reply.Answer, test.A("www.example.org. 300 IN A 192.0.2.80"))
	expectSigned(t, reply.Answer, zsk)

	reply = s.ask(question("example.org.", dns.TypeSOA, true))
	expectSigned(t, reply.Answer, zsk)

	chaos := question("version.bind.", dns.TypeTXT, false)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	if reply := s.ask(chaos); len(reply.Answer) > 0 {
		t.Errorf("Expected no answer to class CH, got\n%v", reply)
	}
}

// TestApexDenialNamesWhatIsServed is rule S2: with the bitmap of the dnssec
// plugin, a resolver that makes use of it (RFC 8198) denies CDS and CDNSKEY.
func TestApexDenialNamesWhatIsServed(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	for _, qtype := range []uint16{dns.TypeTXT, cns.DefaultType, dns.TypeCSYNC} {
		reply := s.ask(question("example.org.", qtype, true))
		nsec := records(reply.Ns, dns.TypeNSEC)
		if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) > 0 || len(nsec) != 1 {
			t.Fatalf("Expected a denial with one NSEC, got\n%v", reply)
		}
		bitmap := nsec[0].(*dns.NSEC).TypeBitMap
		for _, served := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeSOA, dns.TypeNS} {
			if !slices.Contains(bitmap, served) {
				t.Errorf("%s: expected %s in the bitmap, got %v", dns.Type(qtype), dns.Type(served), nsec[0])
			}
		}
		if slices.Contains(bitmap, cns.DefaultType) || slices.Contains(bitmap, dns.TypeCSYNC) || slices.Contains(bitmap, qtype) {
			t.Errorf("%s: expected no type in the bitmap that there is not, got %v", dns.Type(qtype), nsec[0])
		}
		expectSigned(t, reply.Ns, p.key(t, p.zsk))
	}
}

func TestAnnouncesInsideAZone(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	ksk, zsk, csk := p.key(t, p.ksk), p.key(t, p.zsk), p.key(t, p.csk)
	const at = "_multi.example.org._signal.ns1.example.net."
	for _, tt := range []struct {
		qtype uint16
		want  dns.RR
	}{
		{dns.TypeDNSKEY, dnskey(at, zsk, 3600)},
		{dns.TypeCDS, cds(at, ksk, 3600)},
		{dns.TypeCDNSKEY, cdnskey(at, ksk, 3600)},
	} {
		reply := s.until("the announcement", question(at, tt.qtype, true), answered)
		expectRecords(t, reply.Answer, tt.want)
		expectSigned(t, reply.Answer, csk)
		if !reply.Authoritative {
			t.Errorf("Expected an authoritative answer, got\n%v", reply)
		}
	}
	for _, name := range []string{"_multi.example.com._signal.ns1.example.net.", "_signal.ns1.example.net.", "x." + at, at} {
		reply := s.ask(question(name, dns.TypeTXT, true))
		if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) > 0 || len(records(reply.Ns, dns.TypeSOA)) != 1 || len(records(reply.Ns, dns.TypeNSEC)) != 1 {
			t.Errorf("%s: expected a denial with SOA and NSEC (RFC 9824), got\n%v", name, reply)
		}
		expectSigned(t, reply.Ns, csk)
		for _, rr := range reply.Ns {
			if rr.Header().Ttl > 300 {
				t.Errorf("%s: expected a TTL of at most 300 s, got %v", name, rr)
			}
		}
	}
}

// delegated returns a Corefile in which _signal.ns1.example.net is a zone of
// its own.
func (p *provider) delegated() string {
	return strings.NewReplacer("DIR", p.dir, "KSK", p.ksk, "ZSK", p.zsk, "OWN", p.delegate).Replace(`
.:PORT {
	bind 127.0.0.1
	root DIR
	errors
	mske example.org {
		nameservers ns1.example.net
		key file KSK ZSK
		resolver 127.0.0.1:1
		state mske.db
	}
	mske _signal.ns1.example.net {
		nameservers ns1.example.net
		key file OWN
		resolver 127.0.0.1:1
	}
	dnssec example.org {
		key file KSK ZSK
	}
	file db.example.org example.org
}
`)
}

func TestAnnouncesInADelegatedZone(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.delegated())
	zsk, own := p.key(t, p.zsk), p.key(t, p.delegate)
	const zone = "_signal.ns1.example.net."
	const at = "_multi.example.org." + zone

	reply := s.until("the announcement", question(at, dns.TypeDNSKEY, true), answered)
	expectRecords(t, reply.Answer, dnskey(at, zsk, 3600))
	expectSigned(t, reply.Answer, own)

	reply = s.ask(question(zone, dns.TypeDNSKEY, true))
	expectRecords(t, reply.Answer, dnskey(zone, own, 3600))
	expectSigned(t, reply.Answer, own)

	for _, qtype := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeCDS, dns.TypeCDNSKEY} {
		reply = s.ask(question(zone, qtype, true))
		if len(records(reply.Answer, qtype)) != 1 {
			t.Errorf("Expected one %s record, got\n%v", dns.Type(qtype), reply)
		}
		expectSigned(t, reply.Answer, own)
	}

	reply = s.ask(question("none."+zone, dns.TypeTXT, true))
	if reply.Rcode != dns.RcodeNameError || len(records(reply.Ns, dns.TypeNSEC)) == 0 {
		t.Errorf("Expected a denial with NSEC, got\n%v", reply)
	}
	expectSigned(t, reply.Ns, own)
}

// TestDSOfADelegatedSignalingDomain has the parent's data behind mske, and not.
func TestDSOfADelegatedSignalingDomain(t *testing.T) {
	const zone = "_signal.ns1.example.net."
	p := newProvider(t)
	q := question(zone, dns.TypeDS, true)

	s := start(t, p.delegated())
	s.until("the zone", question(zone, dns.TypeSOA, true), answered)
	reply := s.ask(q)
	if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) > 0 || len(records(reply.Ns, dns.TypeNSEC)) != 1 {
		t.Errorf("Expected a denial of our own where nobody has the parent, got\n%v", reply)
	}
	expectSigned(t, reply.Ns, p.key(t, p.delegate))
	s.stop()

	ds := p.key(t, p.delegate).ToDS(dns.SHA256)
	writeFile(t, filepath.Join(p.dir, "db.example.net"), zoneNet+zone+" 3600 IN NS ns1.example.net.\n"+ds.String()+"\n")
	s = start(t, strings.Replace(p.delegated(), "file db.example.org example.org", "file db.example.org example.org\nfile db.example.net example.net", 1))
	s.until("the zone", question(zone, dns.TypeSOA, true), answered)
	expectRecords(t, s.ask(q).Answer, ds)
}

// TestWithheldTypeIsDenied has a key set withheld, as when a peer's secure
// entry is known by its digest only (rule F6).
func TestWithheldTypeIsDenied(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	s.until("an answer", question("example.org.", dns.TypeCDNSKEY, true), answered)
	z := runningHandler(t).zones["example.org."]
	withheld := *z.view.Load()
	withheld.CDNSKEY = serve.ApexSet{Answer: serve.Withheld}
	z.view.Store(&withheld)

	reply := s.ask(question("eXample.org.", dns.TypeCDNSKEY, true))
	if reply.Rcode != dns.RcodeSuccess || !reply.Authoritative || len(reply.Answer) > 0 || reply.Question[0].Name != "eXample.org." {
		t.Errorf("Expected an authoritative denial, got\n%v", reply)
	}
	nsec := records(reply.Ns, dns.TypeNSEC)
	if len(nsec) != 1 || len(records(reply.Ns, dns.TypeSOA)) != 1 {
		t.Fatalf("Expected SOA and NSEC, got\n%v", reply)
	}
	bitmap := nsec[0].(*dns.NSEC).TypeBitMap
	if slices.Contains(bitmap, dns.TypeCDNSKEY) || !slices.Contains(bitmap, dns.TypeCDS) || !slices.Contains(bitmap, dns.TypeDNSKEY) {
		t.Errorf("Expected CDS and DNSKEY in the bitmap and not CDNSKEY, got %v", nsec[0])
	}
	expectSigned(t, reply.Ns, p.key(t, p.zsk))

	plain := s.ask(question("example.org.", dns.TypeCDNSKEY, false))
	if plain.Rcode != dns.RcodeSuccess || len(plain.Ns) != 1 || len(records(plain.Ns, dns.TypeSOA)) != 1 {
		t.Errorf("Expected SOA alone without DO, got\n%v", plain)
	}
}

func TestTheLongestZoneEnclosesASignalingDomain(t *testing.T) {
	f := newCorefile(t)
	stanza := func(zones string) string {
		return "mske " + zones + " {\nnameservers ns1.dns.example.net ns2.example.com\nresolver 192.0.2.53\nkey directory keys\n}\n"
	}
	m, err := f.parse(stanza("example.org net example.net dns.example.net"))
	if err != nil {
		t.Fatal(err)
	}
	m.instance.connect()
	if n := len(m.instance.subtrees); n != 1 {
		t.Fatalf("Expected one signaling domain to be served, got %d", n)
	}
	if got := m.instance.subtrees[0]; got.zone.name != "dns.example.net." || got.ns != "ns1.dns.example.net." || got.zone.whole {
		t.Errorf("Expected _signal.ns1.dns.example.net. to be inside dns.example.net., got %+v in %s", got, got.zone.name)
	}
	if got, want := m.instance.orphans, []string{"_signal.ns2.example.com."}; !slices.Equal(got, want) {
		t.Errorf("Expected %q to have no zone, got %q", want, got)
	}
}

func TestZonesThatTheServerBlockIsNotAskedAbout(t *testing.T) {
	f := newCorefile(t)
	for _, tt := range []struct {
		zones string
		block []string
		want  []string
	}{
		{"example.net", []string{"dns://example.com.:1153"}, []string{"example.net."}},
		{"example.net a.example.com EXAMPLE.com example.org", []string{"dns://example.com.:1153"}, []string{"example.net.", "example.org."}},
		{"example.net", []string{"dns://counterexample.net.:53", "dns://www.example.net.:53"}, []string{"example.net."}},
		{"example.net", []string{"tls://.:853"}, nil},
		{"example.net", []string{"dns://NET:53"}, nil},
		{"example.net example.org", []string{"dns://example.org.:53", "tls://example.net.:853"}, nil},
		{"10.0.0.0/23", []string{"dns://0.0.10.in-addr.arpa.:53", "dns://1.0.10.in-addr.arpa.:53"}, nil},
		{"10.0.0.0/24", []string{"dns://10.in-addr.arpa.:53"}, nil},
		{"10.0.0.0/23", []string{"10.0.0.0/24"}, []string{"1.0.10.in-addr.arpa."}},
		{`b\195\188cher.example`, []string{`dns://b\195\188cher.example.:53`}, nil},
		{"", []string{"dns://_signal.ns1.example.com.:53"}, nil},
		{"_signal.ns1.example.com", []string{"dns://example.com.:53"}, nil},
		{"_signal.ns1.example.com", []string{"dns://example.org.:53"}, []string{"_signal.ns1.example.com."}},
		{"example.com", []string{"dns://_signal.ns1.example.com.:53"}, nil}, // the announcements in it are asked for there
		{"example.com", []string{"dns://_signal.ns2.example.com.:53"}, []string{"example.com."}},
	} {
		m, err := f.parse("mske "+tt.zones+" {\nnameservers ns1.example.com\nresolver 192.0.2.53\nkey directory keys\n}", tt.block...)
		if err != nil {
			t.Fatal(err)
		}
		m.instance.connect()
		if got := m.outside(); !slices.Equal(got, tt.want) {
			t.Errorf("%q in %q: expected %q to be outside, got %q", tt.zones, tt.block, tt.want, got)
		}
	}
}

func TestMatch(t *testing.T) {
	f := newCorefile(t)
	m, err := f.parse("mske example.org sub.example.org example.net {\nnameservers ns1.example.net\nresolver 192.0.2.53\nkey directory keys\n}")
	if err != nil {
		t.Fatal(err)
	}
	m.instance.connect()
	for _, tt := range []struct {
		name, zone, subtree string
		exact               bool
	}{
		{"example.org.", "example.org.", "", true},
		{"EXAMPLE.org.", "example.org.", "", true},
		{"www.example.org.", "example.org.", "", false},
		{"a.sub.example.org.", "sub.example.org.", "", false},
		{"ns1.example.net.", "example.net.", "", false},
		{"_signal.ns1.example.net.", "example.net.", "_signal.ns1.example.net.", true},
		{"_multi.example.org._Signal.ns1.example.net.", "example.net.", "_signal.ns1.example.net.", false},
		{"org.", "", "", false},
		{".", "", "", false},
		{`example\.org.`, "", "", false},
		{"notexample.org.", "", "", false},
		{`a\.b.example.org.`, "example.org.", "", false},
		{`a\\.example.org.`, "example.org.", "", false},
		{`a\\\..Example.org.`, "example.org.", "", false},
		{`a\046b.example.org.`, "example.org.", "", false},
		{`\..Sub.example.org.`, "sub.example.org.", "", false},
		{strings.Repeat("a.", 120) + "example.org.", "example.org.", "", false},
		{strings.Repeat("a.", 200) + "example.org.", "example.org.", "", false}, // no name, but a plugin may make one
		{strings.Repeat(`\001`, 63) + ".WWW.Example.org.", "example.org.", "", false},
	} {
		s, exact := m.sites.match(tt.name)
		zone, subtree := "", ""
		if s.zone != nil {
			zone = s.zone.name
		}
		if s.subtree != nil {
			subtree = s.subtree.domain
		}
		if zone != tt.zone || subtree != tt.subtree || exact != tt.exact {
			t.Errorf("%s: expected %q, %q, %v, got %q, %q, %v", tt.name, tt.zone, tt.subtree, tt.exact, zone, subtree, exact)
		}
	}
}

func TestCacheBypassZones(t *testing.T) {
	f := newCorefile(t)
	stanza := "mske %s {\nnameservers ns1.example.net\nresolver 192.0.2.53\nkey directory keys\n}"
	m, err := f.parse(fmt.Sprintf(stanza, "example.org example.net"), "dns://.:53")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.CacheBypassZones(), []string{"_signal.ns1.example.net.", "example.net.", "example.org."}; !slices.Equal(got, want) {
		t.Errorf("Expected %q, got %q", want, got)
	}
	var many strings.Builder
	for i := range maxBypass + 1 {
		fmt.Fprintf(&many, "z%d.example ", i)
	}
	if m, err = f.parse(fmt.Sprintf(stanza, &many), "dns://example.:53"); err != nil {
		t.Fatal(err)
	}
	if got, want := m.CacheBypassZones(), []string{"example."}; !slices.Equal(got, want) {
		t.Errorf("Expected the zone of the server block, got %q", got)
	}
}

func TestFailsAloudBeforeItKnowsTheKeySets(t *testing.T) {
	f := newCorefile(t)
	m, err := f.parse("mske example.org example.net {\nnameservers ns1.example.net\nresolver 192.0.2.53\nkey directory keys\n}")
	if err != nil {
		t.Fatal(err)
	}
	m.instance.connect()
	m.Next = test.ErrorHandler()
	for _, name := range []string{"example.org.", "_multi.example.org._signal.ns1.example.net."} {
		rec := dnstest.NewRecorder(&test.ResponseWriter{})
		rcode, err := m.ServeDNS(t.Context(), rec, question(name, dns.TypeDNSKEY, true))
		if rcode != dns.RcodeServerFailure || err == nil || rec.Msg != nil {
			t.Errorf("%s: expected SERVFAIL to be left to the server and an error, got %d, %v, %v", name, rcode, err, rec.Msg)
		}
	}
	if m.Ready() {
		t.Error("Expected not to be ready before the start")
	}
}

func TestHandlerAnswersAfterShutdown(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	q := question("example.org.", dns.TypeDNSKEY, true)
	s.until("an answer", q, answered)
	s.shutdown()
	if reply := s.ask(q); reply.Rcode != dns.RcodeSuccess {
		t.Errorf("Expected an answer from what was published last, got\n%v", reply)
	}
}

// TestWarnsOfWhatCannotWork captures the log of a start.
func TestWarnsOfWhatCannotWork(t *testing.T) {
	var lines bytes.Buffer
	golog.SetOutput(&lines)
	defer clog.Discard()
	p := newProvider(t)
	corefile, _, _ := strings.Cut(p.corefile("transfer {\n to *\n}"), "example.net:PORT")
	start(t, corefile).stop()
	for _, want := range []string{
		"[WARNING] plugin/mske: Plugin transfer",
		`[WARNING] plugin/mske: No zone of an mske stanza encloses "_signal.ns1.example.net."`,
	} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("Expected a line with %q, got\n%s", want, &lines)
		}
	}
	if strings.Contains(lines.String(), "The server block") {
		t.Errorf("Expected no line of zones outside of their server block, got\n%s", &lines)
	}
}

func TestWarnsOfZonesThatTheServerBlockIsNotAskedAbout(t *testing.T) {
	var lines bytes.Buffer
	golog.SetOutput(&lines)
	defer clog.Discard()
	p := newProvider(t)
	for _, tt := range []struct{ block, zones, want string }{
		{"example.com", "example.org", "The server block example.com. is not asked about these zones of its mske: example.org.; name them before its {, or move"},
		{"org", "example.org a.example b.example c.example d.example e.example f.example",
			"mske: a.example. b.example. c.example. d.example. e.example. and 1 more; name them"},
	} {
		lines.Reset()
		start(t, tt.block+":PORT {\nbind 127.0.0.1\nroot "+p.dir+"\nmske "+tt.zones+" {\nnameservers ns1.example.net\nkey directory .\nresolver 127.0.0.1:1\n}\n}\n").stop()
		if n := strings.Count(lines.String(), "[WARNING] plugin/mske: The server block "); n != 1 || !strings.Contains(lines.String(), tt.want) {
			t.Errorf("Expected one line, with %q, got\n%s", tt.want, &lines)
		}
	}
}

func TestTruncatesOverUDP(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	q := question("example.org.", dns.TypeCDNSKEY, true)
	s.until("an answer", q, answered)
	q = new(dns.Msg).SetQuestion("example.org.", dns.TypeCDNSKEY)
	q.SetEdns0(512, true)
	conn, err := net.Dial("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reply, _, err := (&dns.Client{UDPSize: 512, Timeout: patience}).ExchangeWithConn(q, &dns.Conn{Conn: conn})
	if err != nil {
		t.Fatal(err)
	}
	if n := reply.Len(); n > 512 || len(reply.Answer) < 3 && !reply.Truncated {
		t.Errorf("Expected TC in an answer of at most 512 octets, got %d octets\n%v", n, reply)
	}
}

// runningHandler returns the first handler of what runs in this process.
func runningHandler(t testing.TB) *MSKE {
	t.Helper()
	running.mu.Lock()
	defer running.mu.Unlock()
	for inst := range running.set {
		return inst.handlers[0]
	}
	t.Fatal("nothing runs")
	return nil
}
