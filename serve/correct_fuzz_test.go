package serve

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzCorrect has any octets be what the next plugin answers. What comes of it
// says what is true of the apex and is signed where it was changed; all else is
// as it was.
func FuzzCorrect(f *testing.F) {
	p := newProvider(f, zone)
	served := p.sign(f, Params{TTL: 3600, Now: now}, nil)
	withheld, owner, failing := *served, *served, *served
	withheld.CDNSKEY = ApexSet{Answer: Withheld}
	owner.HasCNS, owner.HasCSYNC = true, true
	failing.CDS = ApexSet{}
	views := []*Apex{served, &withheld, &owner, &failing}

	c := chain{f, p}
	hash := func(iterations uint16, salt string) string {
		return strings.ToLower(dns.HashName(zone, dns.SHA1, iterations, salt))
	}
	right := with(lies, dns.TypeCDS, dns.TypeCDNSKEY)
	first := c.signed(true, nsec(zone, "a."+zone, lies...))
	foreign := c.signed(true, nsec(zone, `\000.`+zone, lies...))
	foreign[0].(*dns.RRSIG).KeyTag++
	for i, proof := range [][]dns.RR{
		c.signed(true, nsec(zone, `\000.`+zone, lies...)),
		c.signed(false, nsec("EXAMPLE.co.uk.", "www."+zone, right...)),
		c.signed(true, nsec(zone, "uk.", dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC)),
		c.signed(true, nsec3(hash(5, "aabb"), hash(5, "aabb"), 5, "aabb", lies...)),
		append(c.signed(true, nsec3(hash(0, ""), hash(0, ""), 0, "", lies...)), nsec3(hash(151, ""), hash(0, ""), 151, "", lies...)),
		append(c.signed(false, nsec("www."+zone, zone, dns.TypeA)), c.signed(true, nsec(zone, "a."+zone, with(lies, cnsType)...))...),
		foreign,
		slices.Concat([]dns.RR{first[0]}, first, []dns.RR{nsec3(hash(0, ""), hash(0, ""), 0, "", lies...), nsec3(hash(1, "aa"), hash(0, ""), 1, "aa", lies...)}),
		slices.Concat(c.signed(true, nsec(zone, "a."+zone, lies...)), c.signed(true, nsec(zone, "b."+zone, lies...))),
	} {
		for _, m := range []*dns.Msg{
			denial(dns.TypeAAAA, nil, append(c.signed(true, c.soa()), proof...)),
			denial(cnsType, proof, nil),
		} {
			wire, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, uint8(i))
			f.Add(wire, uint8(i+1))
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, view uint8) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		a := views[int(view)%len(views)]
		was := text(m)
		p.spent()
		got, err := Correct(m, a, cnsType, NewOnline(10, 1000), now)
		made := p.spent()
		if text(m) != was {
			t.Fatalf("Expected the chain's message as it was\n%s\ngot\n%v", was, m)
		}
		if err != nil {
			checkUnpackable(t, m, err)
			return
		}
		if got == m && made > 0 {
			t.Errorf("Expected no signature for a message that is right")
		}
		if _, err := m.Pack(); err == nil {
			if _, err := got.Pack(); err != nil {
				t.Errorf("Expected what is corrected to pack, got %v", err)
			}
		}
		if again, err := Correct(got, a, cnsType, nil, now); err != nil || again != got {
			t.Errorf("Expected nothing more to correct, got %v\n%v", err, again)
		}
		changed := checkSection(t, p, a, m, m.Answer, got.Answer) + checkSection(t, p, a, m, m.Ns, got.Ns)
		if int(made) > changed {
			t.Errorf("Expected %d signatures at most, got %d", changed, made)
		}
		if (got == m) != (changed == 0) {
			t.Errorf("Expected the message itself if and only if it was right, got %d corrections", changed)
		}
	})
}

// checkUnpackable checks that an answer was refused for no other reason than
// that one of its records cannot be written.
func checkUnpackable(t *testing.T, m *dns.Msg, err error) {
	t.Helper()
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		if _, packed := dns.PackRR(dns.Copy(rr), make([]byte, dns.MaxMsgSize), 0, nil, false); packed != nil {
			return
		}
	}
	t.Errorf("Expected a correction, got %v", err)
}

// ofApex returns the types that rr, an NSEC or NSEC3, says there are at the
// apex, and whether it is one of that.
func ofApex(rr dns.RR) ([]uint16, bool) {
	if rr.Header().Class != dns.ClassINET {
		return nil, false
	}
	switch rr := rr.(type) {
	case *dns.NSEC:
		return rr.TypeBitMap, strings.EqualFold(rr.Hdr.Name, zone) && slices.Contains(rr.TypeBitMap, dns.TypeSOA)
	case *dns.NSEC3:
		label, above, _ := strings.Cut(rr.Hdr.Name, ".")
		is := rr.Hash == dns.SHA1 && rr.Iterations <= 150 && strings.EqualFold(above, zone)
		return rr.TypeBitMap, is && strings.EqualFold(label, dns.HashName(zone, rr.Hash, rr.Iterations, rr.Salt))
	}
	return nil, false
}

// truth returns what a bitmap of the apex has to be, made from one of the chain.
func truth(a *Apex, m *dns.Msg, types []uint16) []uint16 {
	asked := func(qtype uint16, had bool) bool {
		if len(m.Question) == 1 && m.Question[0].Qtype == qtype && strings.EqualFold(m.Question[0].Name, zone) {
			return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == qtype })
		}
		return had
	}
	is := map[uint16]bool{
		dns.TypeDNSKEY: a.DNSKEY.Answer != Withheld, dns.TypeCDS: a.CDS.Answer != Withheld, dns.TypeCDNSKEY: a.CDNSKEY.Answer != Withheld,
		cnsType: asked(cnsType, a.HasCNS), dns.TypeCSYNC: asked(dns.TypeCSYNC, a.HasCSYNC),
	}
	var right []uint16
	for _, rrtype := range types {
		if _, ours := is[rrtype]; !ours {
			right = append(right, rrtype)
		}
	}
	for rrtype, there := range is {
		if there {
			right = append(right, rrtype)
		}
	}
	return slices.Sorted(slices.Values(right))
}

// checkSection holds a section against what it was, and returns how many
// records were put right in it.
func checkSection(t *testing.T, p *provider, a *Apex, m *dns.Msg, was, is []dns.RR) (changed int) {
	t.Helper()
	type set struct {
		owner  string
		rrtype uint16
	}
	wrong, count := make(map[set]bool), make(map[set]int)
	for _, rr := range was {
		count[set{strings.ToLower(rr.Header().Name), rr.Header().Rrtype}]++
		if types, ok := ofApex(rr); ok && !slices.Equal(types, truth(a, m, types)) {
			wrong[set{strings.ToLower(rr.Header().Name), rr.Header().Rrtype}] = true
			changed++
		}
	}
	// What stays: all but the records put right and every signature over them.
	rest := func(section []dns.RR) (kept []string) {
		for _, rr := range section {
			sig, isSig := rr.(*dns.RRSIG)
			_, apex := ofApex(rr)
			switch owner := strings.ToLower(rr.Header().Name); {
			case isSig && wrong[set{owner, sig.TypeCovered}], apex && wrong[set{owner, rr.Header().Rrtype}]:
			default:
				kept = append(kept, rr.String())
			}
		}
		return kept
	}
	if x, y := rest(was), rest(is); !slices.Equal(x, y) {
		t.Errorf("Expected the other records as they were\n%s\ngot\n%s", strings.Join(x, "\n"), strings.Join(y, "\n"))
	}
	for _, rr := range is {
		types, ok := ofApex(rr)
		if !ok {
			continue
		}
		if !slices.Equal(types, truth(a, m, types)) {
			t.Errorf("Expected the types %v, got %v", truth(a, m, types), rr)
		}
		// Several at one name are no proof to begin with.
		if of := (set{strings.ToLower(rr.Header().Name), rr.Header().Rrtype}); wrong[of] && count[of] == 1 && !signedBy(p, is, rr) {
			t.Errorf("Expected a valid signature over %v in\n%v", rr, is)
		}
	}
	return changed
}

// signedBy reports whether the signatures in section over rr are by p and valid,
// and whether there are any. That no TTL exceeds what was signed is for the chain
// to see to.
func signedBy(p *provider, section []dns.RR, rr dns.RR) bool {
	found := false
	for _, other := range section {
		sig, ok := other.(*dns.RRSIG)
		if !ok || sig.TypeCovered != rr.Header().Rrtype || !strings.EqualFold(sig.Hdr.Name, rr.Header().Name) {
			continue
		}
		if sig.SignerName != zone || sig.KeyTag != p.zsk.Tag() || !sig.ValidityPeriod(now) ||
			int(sig.Labels) != dns.CountLabel(rr.Header().Name) || sig.Verify(p.zsk.DNSKEY, []dns.RR{rr}) != nil {
			return false
		}
		found = true
	}
	return found
}
