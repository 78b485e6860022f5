package lifecycle

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/coredns-mske/mske/merge"
)

func TestLikeChangesMemoryAlone(t *testing.T) {
	look := func() Look {
		return Look{Seen: []Seen{
			{Host: "ns1.example.net.", Keys: []merge.Key{{PublicKey: strings.Clone("AAAA")}}, NS: []string{"ns1.example.net."}},
			{Host: "ns1.example.org.", Silent: true, Why: strings.Clone("it is silent")},
			{Host: "ns2.example.org.", Lacks: []string{strings.Clone("a key")}},
		}}
	}
	last, l := look(), look()
	l.Seen[1].Why = strings.Clone("it is silent still")
	l.Seen = append(l.Seen, Seen{Host: "ns3.example.org."})
	want := Look{Seen: append(look().Seen, Seen{Host: "ns3.example.org."})}
	want.Seen[1].Why = "it is silent still"
	before := l
	like := l.Like(last)
	if !reflect.DeepEqual(like, want) || !reflect.DeepEqual(before, want) {
		t.Errorf("Expected\n%+v\ngot\n%+v", want, like)
	}
	if unsafe.SliceData(like.Seen[0].Keys) != unsafe.SliceData(last.Seen[0].Keys) || unsafe.SliceData(like.Seen[2].Lacks) != unsafe.SliceData(last.Seen[2].Lacks) {
		t.Error("Expected what is the same to be in the memory of the last look")
	}
}
