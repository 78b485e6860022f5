package observe

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/coredns-mske/mske/merge"
)

// shown returns a sight of one server that serves a key and its digest, each text
// in memory of its own.
func shown() Sight {
	key := func() []merge.Key { return []merge.Key{{Flags: 257, Algorithm: 13, PublicKey: strings.Clone("AAAA")}} }
	set := func() Set[merge.Key] { return Set[merge.Key]{Records: key(), Signers: key()} }
	apex := func() Apex {
		return Apex{
			DNSKEY: set(), CDNSKEY: set(), SOA: Set[uint32]{Records: []uint32{1}, Signers: key()},
			CDS: Set[merge.DS]{Records: []merge.DS{{KeyTag: 1, Digest: strings.Clone("00")}}, Signers: key()},
			NS:  Set[string]{Signers: key()}, CNS: Set[string]{Signers: key()},
		}
	}
	return Sight{Servers: []Server{{Addresses: []Address{{UDP: apex(), TCP: apex()}}}}}
}

func TestShareChangesMemoryAlone(t *testing.T) {
	s, known := shown(), shown().Servers[0].Addresses[0].UDP
	s.Share(append([]merge.Key{{PublicKey: "BBBB"}}, known.DNSKEY.Records...), known.CDS.Records)
	if want := shown(); !reflect.DeepEqual(s, want) {
		t.Errorf("Expected %v, got %v", want, s)
	}
	at := func(text string) *byte { return unsafe.StringData(text) }
	for _, a := range []Apex{s.Servers[0].Addresses[0].UDP, s.Servers[0].Addresses[0].TCP} {
		for _, keys := range [][]merge.Key{
			a.DNSKEY.Records, a.CDNSKEY.Records, a.SOA.Signers, a.DNSKEY.Signers, a.CDNSKEY.Signers, a.CDS.Signers, a.NS.Signers, a.CNS.Signers,
		} {
			if at(keys[0].PublicKey) != at(known.DNSKEY.Records[0].PublicKey) {
				t.Errorf("Expected the text that is known, got another: %v", keys)
			}
		}
		if at(a.CDS.Records[0].Digest) != at(known.CDS.Records[0].Digest) {
			t.Errorf("Expected the text that is known, got another: %v", a.CDS.Records)
		}
	}
}

func TestShareLeavesWhatIsNotKnown(t *testing.T) {
	s := shown()
	s.Share([]merge.Key{{PublicKey: "AAAA"}}, []merge.DS{{KeyTag: 2, Digest: "00"}})
	if want := shown(); !reflect.DeepEqual(s, want) {
		t.Errorf("Expected %v, got %v", want, s)
	}
}
